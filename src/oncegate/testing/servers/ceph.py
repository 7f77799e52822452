"""A Ceph of one machine for tests: a monitor, an OSD that keeps everything in memory, and radosgw, which speaks S3.

    with CephServer(tmp_path) as server:
        server.make_bucket("objects")
        open_store("s3://objects", folder=tmp_path, options=server.store_options)

A real server that checks signatures, ready within two seconds. Needs the Debian packages ``ceph-mon``, ``ceph-osd`` and
``radosgw``; not root, and nothing outside its folder but free ports of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import uuid

from oncegate.testing.installation import free_port
from oncegate.testing.servers.object_stores import ACCESS_KEY_ID, SECRET, S3Server
from oncegate.testing.servers.process import START_MAX_S

PROGRAMS = {
    "ceph": "ceph-common",
    "ceph-authtool": "ceph-common",
    "monmaptool": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
    "radosgw-admin": "radosgw",
}
"""What is run, and the Debian package that has it."""

MEMORY_MAX_BYTES = 8 << 30
"""What the OSD says it has; only what is stored takes memory."""

_CONFIGURATION = """
[global]
fsid = {cluster_id}
keyring = {folder}/keyring
log file = {folder}/$name.log
run dir = {folder}
crash dir = {folder}
pid file =
admin socket =
mon host = [v2:127.0.0.1:{mon_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
auth allow insecure global id reclaim = false
paxos propose interval = 0.05
mon data = {folder}/mon
mon data avail crit = 1
mon allow pool size one = true
mon max pg per osd = 1000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory_bytes}
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw gc obj min wait = 1
rgw gc processor period = 10
"""
# Every change of the cluster's maps waits for paxos' interval, a second by default: of a start that is most. Without
# tcp_nodelay small answers wait for the kernel: a claim took 48 ms, with it 3.4. The last two let go of deleted objects
# at once, where the default is after two hours.


class CephServer(S3Server):
    """Ceph; what is started, killed, frozen and counted is radosgw, with the cluster behind it.

    So after ``kill`` and ``start`` what was stored is there. ``stop`` ends all, and all is lost: a later ``start`` is of an
    empty cluster.

    Args:
        folder: where its files go.

    Raises:
        RuntimeError: a program is not installed.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
        if missing:
            raise RuntimeError(f"Ceph is not installed: it needs the packages {', '.join(missing)}")
        super().__init__(folder, name="ceph")
        self._cluster: list[subprocess.Popen[bytes]] = []
        self._folder = self._home

    @property
    def version(self) -> tuple[int, ...]:
        """Of radosgw: ``(16, 2, 15)``."""
        number = self._run("radosgw", "--version").split()[2].partition("-")[0]
        return tuple(int(part) for part in number.split("."))

    def start(self) -> None:
        """Start radosgw, and before the first time the cluster; wait until it answers.

        Raises:
            RuntimeError: something did not start; the message is what was said.
        """
        try:
            if not self._cluster:
                self._start_cluster()
            super().start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all of it. The cluster by SIGKILL: else the OSD would write its memory to the disk."""
        super().stop()
        for process in reversed(self._cluster):
            process.kill()
            process.wait()
        self._cluster = []

    def said(self) -> str:
        """Return the end of what each process logged."""
        texts: list[str] = []
        for path in sorted(self._folder.glob("*.log")):
            with contextlib.suppress(OSError):
                texts.append(f"{path.name}: {path.read_text(errors='replace')[-1000:]}")
        return "\n".join(texts)

    def _start_cluster(self) -> None:
        cluster_id, mon_port = str(uuid.uuid4()), free_port()
        self._folder = self._home / cluster_id[:8]
        for name in ("mon", "osd"):
            (self._folder / name).mkdir(parents=True)
        text = _CONFIGURATION.format(
            cluster_id=cluster_id,
            folder=self._folder,
            mon_port=mon_port,
            memory_bytes=MEMORY_MAX_BYTES,
            port=self.port,
        )
        (self._folder / "ceph.conf").write_text(text)
        self._make_keys()
        address = f"[v2:127.0.0.1:{mon_port}]"
        self._run("monmaptool", "--create", "--fsid", cluster_id, "--addv", "a", address, "monmap")
        self._run("ceph-mon", "--id", "a", "--mkfs", "--monmap", "monmap", "--keyring", "keyring")
        self._cluster.append(self._spawn("ceph-mon", "--id", "a", "--foreground"))
        osd_id = str(uuid.uuid4())
        self._run("ceph", "--connect-timeout", f"{START_MAX_S:.0f}", "osd", "new", osd_id, "0")
        self._run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osd_id)
        self._cluster.append(self._spawn("ceph-osd", "--id", "0", "--foreground"))
        # This one waits for the OSD, since it makes radosgw's pools.
        user = ["--uid", "oncegate", "--display-name", "oncegate"]
        key = ["--access-key", ACCESS_KEY_ID, "--secret-key", SECRET]
        self._run("radosgw-admin", "user", "create", *user, *key)

    def _make_keys(self) -> None:
        """For the three kinds of process; with no keys at all ("auth required = none") radosgw 16 does not start."""
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        for name in ("mon.", "osd.0", "client.admin"):
            new = [] if (self._folder / "keyring").exists() else ["--create-keyring"]
            self._run("ceph-authtool", "keyring", *new, "--gen-key", "--name", name, *everything)

    def _run(self, program: str, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [program, *arguments],
                cwd=self._folder,
                env=self._environ(),
                capture_output=True,
                check=False,
                timeout=START_MAX_S,
            )
        except subprocess.TimeoutExpired as late:
            raise RuntimeError(f"{program} was not at an end after {START_MAX_S:.0f} s: {self.said()}") from late
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}\n{self.said()}")
        return done.stdout.decode()

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{command[0]}.out.log").open("ab") as sink:
            return subprocess.Popen(command, cwd=self._folder, env=self._environ(), stdout=sink, stderr=sink)

    def _launch(self) -> subprocess.Popen[bytes]:
        return self._spawn("radosgw", "--foreground", "--id", "admin")

    def _environ(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CEPH_")}
        return {**inherited, "CEPH_CONF": str(self._folder / "ceph.conf")}
