"""What kind of file system a path lies on, read from the kernel's list."""

import pathlib

import pytest

from oncegate.ledgers.sqlite.mount import Mount, mount_of

MOUNTINFO = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /srv rw,relatime shared:7 master:2 - nfs4 nas:/srv rw,vers=4.2
31 30 254:0 /x /srv/local rw,relatime - xfs /dev/vdb rw
32 27 0:41 / /mnt/two\040words rw - fuse.sshfs host: rw
33 27 0:42 / /over rw - ext4 /dev/vdc rw
34 33 0:43 / /over rw - cifs //nas/over rw
broken line
35 27 0:44 / /srvx rw - btrfs /dev/vdd rw
"""


@pytest.mark.parametrize(
    ("path", "point", "kind", "is_shared"),
    [
        ("/etc/ledger.db", "/", "ext4", False),
        ("/srv/ledger.db", "/srv", "nfs4", True),
        ("/srv/local/ledger.db", "/srv/local", "xfs", False),
        ("/srvx/ledger.db", "/srvx", "btrfs", False),
        ("/mnt/two words/ledger.db", "/mnt/two words", "fuse.sshfs", True),
        ("/over/ledger.db", "/over", "cifs", True),
    ],
)
def test_the_innermost_and_latest_mount_counts(path, point, kind, is_shared, tmp_path):
    """A prefix of the name is no prefix of the path, spaces are escaped, and a later mount hides an earlier one."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_bytes(MOUNTINFO)
    mount = mount_of(pathlib.Path(path), mountinfo=mountinfo)
    assert mount == Mount(pathlib.Path(point), kind)
    assert mount.is_shared == is_shared


@pytest.mark.parametrize("kind", ["nfs", "cifs", "smb3", "9p", "virtiofs", "fuse", "fuseblk", "fuse.s3fs", "lustre"])
def test_network_and_fuse_are_shared(kind):
    """Of all these another machine, or another kernel, may have the same files open."""
    assert Mount(pathlib.Path("/"), kind).is_shared


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs"])
def test_disks_and_memory_are_not(kind):
    """What only this kernel writes to."""
    assert not Mount(pathlib.Path("/"), kind).is_shared


def test_where_the_kernel_does_not_say(tmp_path):
    """Without /proc nothing is known, which is not the same as local."""
    assert mount_of(pathlib.Path("/etc"), mountinfo=tmp_path / "missing") is None


def test_this_machine_is_read():
    """The real list has a mount for every path."""
    if not pathlib.Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc/self/mountinfo on this system")
    assert mount_of(pathlib.Path("/")).kind
