"""What kind of file system a file is on, as Linux says it in ``/proc/self/mountinfo``.

Why it matters: SQLite's write-ahead log needs memory that all its users share. Two machines on one network share
none, so each would see its own half of the claims. It opens no file but mountinfo and decides nothing.

Source: proc(5), "/proc/pid/mountinfo"; SQLite, "Write-Ahead Logging", section 1 ("does not work over a network
file system").
"""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass

MOUNTINFO = pathlib.Path("/proc/self/mountinfo")

# fmt: off
_SHARED_KINDS = frozenset({
    "9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "davfs", "fakeowner", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file's file system is mounted, and its kind in the kernel's words (``ext4``, ``nfs4``, ``fuse.sshfs``)."""

    point: pathlib.Path
    kind: str

    @property
    def is_shared(self) -> bool:
        """Whether other machines may have the same files open: any network or FUSE file system."""
        return self.kind in _SHARED_KINDS or self.kind.startswith("fuse")


def mount_of(path: pathlib.Path, *, mountinfo: pathlib.Path = MOUNTINFO) -> Mount | None:
    """Find the mount that a path is on.

    Args:
        path: absolute, links resolved; it need not exist.
        mountinfo: the kernel's list.

    Returns:
        None where the kernel does not say (no Linux, no /proc).
    """
    try:
        lines = mountinfo.read_bytes().splitlines()
    except OSError:
        return None
    found: Mount | None = None
    for line in lines:
        mount = _parse(line)
        # Of two mounts on one point the later one hides the earlier, hence not "longer" but "not shorter".
        if mount is None or not path.is_relative_to(mount.point):
            continue
        if found is None or len(mount.point.parts) >= len(found.point.parts):
            found = mount
    return found


def _parse(line: bytes) -> Mount | None:
    """Read one line: id, parent, major:minor, root, POINT, options, optional fields, "-", KIND, source, options."""
    before, dash, after = line.partition(b" - ")
    fields, kinds = before.split(b" "), after.split(b" ")
    if not dash or len(fields) < 5 or not kinds[0]:
        return None
    # Space, tab, newline and backslash stand there as a backslash and three octal digits.
    point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), fields[4])
    return Mount(pathlib.Path(point.decode("utf-8", "surrogateescape")), kinds[0].decode("ascii", "replace"))
