"""Programs that people use on a link, run for real: what they save, what they save the second time, and what a cut costs.

``tools/gen_clients.py`` writes docs/clients.md from this, and tests/system/test_clients.py checks that what stands
there is still so. Each client is asked three things on links of their own:

- the whole object, and how many bytes the gateway sent for it;
- the same link again, which must give no byte of the object;
- a download whose connection is cut past the middle, and then whatever continues it.
"""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from oncegate.testing.installation import Installation
from oncegate.testing.servers.object_stores import environment
from oncegate.testing.servers.process import ProgramMissing
from relay import Relay

SIZE_BYTES = 24 * 1024 * 1024
HEAD_MAX_BYTES = 100
CUT_BYTES = 13 * 1024 * 1024
"""Past the slack of half the object: who begins anew is refused, however much was under way when the connection broke."""
LINE_BYTES_PER_S = 40_000_000
RUN_MAX_S = 12
PACKAGES = "aiohttp==3.14.5 fsspec==2026.9.0 yt-dlp==2026.10.26"
"""Clients from PyPI, in an environment of their own."""

Arguments = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Client:
    """One program.

    Attributes:
        name: as docs/clients.md shows it, with the options that matter.
        program: found on PATH; ``python`` is that of the environment of ``PACKAGES``.
        version: arguments that print a version, and a pattern whose first group it is.
        run: arguments that download a URL to a path.
        resume: arguments that continue such a download; None: by running the same again.
        thing: what it downloads, a key of ``THINGS``.
        saved: where it puts it, below the path that it was given; empty: there.
        uses: how often its link opens.
    """

    name: str
    program: str
    version: tuple[tuple[str, ...], str]
    run: Arguments
    resume: Arguments | None = None
    thing: str = "bytes"
    saved: str = ""
    uses: int = 1


class Verdict(NamedTuple):
    """What a client does, in the words of docs/clients.md.

    Attributes:
        whole: it saves the object, and its exit status says so.
        sent: bytes that the gateway sent for the one use, as a multiple of the object, rounded up to a tenth.
        second: the same link again gives nothing: an exit status other than 0, or no file.
        resumes: after a cut: ``by itself``, ``when run again``, ``no``.
    """

    whole: str
    sent: str
    second: str
    resumes: str


_JAVA = """
import java.io.*; import java.net.*; import java.nio.file.*;
public class Get { public static void main(String[] a) throws Exception {
  try (InputStream in = new URL(a[0]).openStream()) { Files.copy(in, Path.of(a[1]), StandardCopyOption.REPLACE_EXISTING); } } }
"""
_NODE = (
    "fetch(process.argv[1]).then(async r => { if (!r.ok) process.exit(3);"
    " require('fs').writeFileSync(process.argv[2], Buffer.from(await r.arrayBuffer())) })"
)
_AIOHTTP = """
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(sys.argv[1]) as answer:
        open(sys.argv[2], "wb").write(await answer.read())
asyncio.run(main())
"""
_FSSPEC = "import fsspec, sys; fsspec.filesystem('http').get_file(sys.argv[1], sys.argv[2])"
_URLLIB = "import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])"
_PYTHON_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def _split(*fixed: str, to: str = "-o") -> Arguments:
    """A command that takes ``-o NAME URL``."""
    return lambda url, path: [*fixed, to, path, url]


def _in_folder(*fixed: str) -> Arguments:
    """aria2 takes a folder and a name."""
    return lambda url, path: [*fixed, "-d", str(pathlib.Path(path).parent), "-o", pathlib.Path(path).name, url]


def _script(code: str) -> Arguments:
    return lambda url, path: ["-c", code, url, path]


def _of_package(name: str) -> tuple[tuple[str, ...], str]:
    return ("-c", _PYTHON_VERSION, name), r"(\S+)"


def _java(url: str, path: str) -> Sequence[str]:
    source = pathlib.Path(path).parent / "Get.java"
    source.write_text(_JAVA)
    return [str(source), url, path]


_NPM = ("--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0")
_QUIET = ("--no-conf", "-q", "--allow-overwrite=true", "--retry-wait=1")


def _aria2c(*options: str) -> Client:
    return Client(
        name=" ".join(("aria2c", *options)),
        program="aria2c",
        version=(("--version",), r"version (\S+)"),
        run=_in_folder(*_QUIET, *options),
        resume=_in_folder(*_QUIET, *options, *(() if "-c" in options else ("-c",))),
    )


INDEX_LAST = "film with its index at the end"
_FFMPEG = Client(
    name="ffmpeg -i URL -c copy",
    program="ffmpeg",
    version=(("-version",), r"version (\S+)"),
    run=lambda url, path: ["-v", "error", "-y", "-i", url, "-c", "copy", "-f", "wav", "-bitexact", path],
    thing="film",
)
_MPV = Client(
    name="mpv",
    program="mpv",
    version=(("--version",), r"mpv (\S+)"),
    run=lambda url, path: [
        *("--no-config", "--really-quiet", "--no-video", "--untimed", "--ao=pcm", f"--ao-pcm-file={path}"),
        url,
    ],
    thing="film",
)
CLIENTS = (
    Client(
        name="curl -o",
        program="curl",
        version=(("--version",), r"curl (\S+)"),
        run=_split("-sf"),
        resume=_split("-sf", "-C", "-"),
    ),
    Client(name="wget -O", program="wget", version=(("--version",), r"Wget (\S+)"), run=_split("-q", "-t3", to="-O")),
    Client(
        name="wget (continues by -c)",
        program="wget",
        version=(("--version",), r"Wget (\S+)"),
        run=_split("-q", "-t1", to="-O"),
        resume=_split("-q", "-c", to="-O"),
    ),
    Client(
        name="wget2 -O",
        program="wget2",
        version=(("--version",), r"Wget2 (\S+)"),
        run=_split("-q", "--tries=3", to="-O"),
        resume=_split("-q", "-c", to="-O"),
    ),
    _aria2c(),
    _aria2c("-x4", "-s4", "-k1M"),
    _aria2c("-x16", "-s16", "-k1M"),
    _aria2c("-c", "--use-head=true"),
    Client(
        name="axel -n4",
        program="axel",
        version=(("--version",), r"Axel (\S+)"),
        run=_split("-q", "-n4"),
    ),
    _FFMPEG,
    replace(_FFMPEG, name="ffmpeg (index at the end)", thing=INDEX_LAST),
    _MPV,
    replace(_MPV, name="mpv (index at the end)", thing=INDEX_LAST),
    Client(name="Java URL.openStream", program="java", version=(("--version",), r"(?:openjdk|java) (\S+)"), run=_java),
    Client(
        name="Node fetch",
        program="node",
        version=(("--version",), r"v(\S+)"),
        run=lambda url, path: ["-e", _NODE, url, path],
    ),
    Client(name="Python urllib", program="python", version=(("--version",), r"Python (\S+)"), run=_script(_URLLIB)),
    Client(name="aiohttp", program="python", version=_of_package("aiohttp"), run=_script(_AIOHTTP)),
    Client(name="fsspec get_file", program="python", version=_of_package("fsspec"), run=_script(_FSSPEC)),
    Client(
        name="yt-dlp",
        program="python",
        version=_of_package("yt-dlp"),
        run=lambda url, path: ["-m", "yt_dlp", "-q", "--no-progress", "--no-part", "-o", path, url],
        thing="film",
    ),
    Client(
        name="uv pip install",
        program="uv",
        version=(("--version",), r"uv (\S+)"),
        run=lambda url, path: ["pip", "install", "-q", "--no-cache", "--no-deps", "--target", path, url],
        thing="wheel",
        saved="payload/data.bin",
    ),
    Client(
        name="npm install (3 uses)",
        program="npm",
        version=(("--version",), r"(\S+)"),
        run=lambda url, path: ["install", *_NPM, "--cache", f"{path}/cache", "--prefix", path, url],
        thing="npm package",
        saved="node_modules/payload/data.bin",
        uses=3,
    ),
    Client(
        name="oncegate get",
        program="oncegate",
        version=(("--version",), r"version (\S+)"),
        run=_split("get", "--force"),
    ),
)


@dataclass(kw_only=True)
class Trial:
    """Runs clients on the links of one gateway.

    Attributes:
        made: the installation.
        programs: where programs are that are not on PATH.
        folder: for what is saved.
        port: of what is asked; 0: the gateway's.
        source: the address from which that is asked.
    """

    made: Installation
    programs: dict[str, str] = field(default_factory=dict)
    folder: pathlib.Path
    port: int = 0
    source: str = "127.0.0.1"

    def version_of(self, client: Client) -> str:
        """The version of a client as it names it."""
        arguments, pattern = client.version
        done = self._run(client, arguments)
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1].rstrip(",.") if found else "?"

    def judge(self, client: Client) -> Verdict:
        """Run a client three times on links of their own.

        Raises:
            ProgramMissing: it is not installed.
        """
        thing = THINGS[client.thing]()
        self.made.put(thing.key, thing.body)
        url = self.made.link(thing.key, uses=client.uses)
        with self._relay().running() as relay:
            through = url.replace(self.made.public_url, relay.url)
            first = self._get(client, client.run, through, "first")
            second = self._get(client, client.run, through, "second")
        return Verdict(
            whole="yes" if first == (True, _digest(thing.payload)) else "no",
            # what goes beyond the object is heads and refusals as well: a twentieth of it is none
            sent=f"{max(0, relay.sent_bytes - 20_000) / len(thing.body):.1f}",
            second=self._say_second(second, thing.payload),
            resumes=self._resume(client, thing),
        )

    def _relay(self, cut_bytes: int | None = None) -> SlowRelay:
        return SlowRelay(self.port or self.made.port, cut_bytes, source=self.source)

    def _say_second(self, second: tuple[bool, str], payload: bytes) -> str:
        if second[1] == _digest(payload):
            return "THE OBJECT"
        return "a page or a part, and no error" if second[0] and second[1] else "nothing"

    def _resume(self, client: Client, thing: Thing) -> str:
        url = self.made.link(thing.key, uses=client.uses)
        with self._relay(CUT_BYTES).running() as relay:
            through = url.replace(self.made.public_url, relay.url)
            if self._get(client, client.run, through, "cut") == (True, _digest(thing.payload)):
                return "by itself"
            if client.resume is None:
                return "no"  # it begins anew: what it then gets is what the budget leaves, by how the connection ended
            again = self._get(client, client.resume, through, "cut")
        return "when run again" if again == (True, _digest(thing.payload)) else "no"

    def _get(self, client: Client, arguments: Arguments, url: str, name: str) -> tuple[bool, str]:
        """Whether a run ended well, and a digest of what it saved."""
        path = self.folder / f"{name}-{CLIENTS.index(client)}{'' if client.saved else '.wav'}"
        done = self._run(client, arguments(url, str(path)))
        saved = path / client.saved if client.saved else path
        data = saved.read_bytes() if saved.is_file() else b""
        # a player writes a head of its own before the sound
        return done.returncode == 0, _digest(data[-SIZE_BYTES:]) if 0 < len(data) <= SIZE_BYTES + HEAD_MAX_BYTES else ""

    def _run(self, client: Client, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        program = self.programs.get(client.program) or shutil.which(client.program)
        if program is None:
            raise ProgramMissing(f"{client.program} is not installed")
        environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
        try:
            return subprocess.run(
                [program, *arguments],
                cwd=self.folder,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=RUN_MAX_S,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, 124, "", "")


class SlowRelay(Relay):
    """Counts what the gateway sends, and cuts the first connection that carries too much.

    Args:
        port: of the gateway.
        cut_bytes: where the connection is cut; later ones live. None: nowhere.
        source: the address from which the gateway is asked.
    """

    def __init__(self, port: int, cut_bytes: int | None = None, *, source: str = "127.0.0.1") -> None:
        super().__init__(port, source=source)
        self.sent_bytes = 0
        self._cut_bytes = cut_bytes

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """As slow as a line: otherwise the first connection has it all before a second is made."""
        passed = 0
        while data := server.recv(65_536):
            self.sent_bytes += len(data)
            passed += len(data)
            client.sendall(data)
            time.sleep(len(data) / LINE_BYTES_PER_S)
            if self._cut_bytes is not None and passed >= self._cut_bytes:
                self._cut_bytes = None
                return


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Thing(NamedTuple):
    """What is downloaded: under which key, its bytes, and the ``SIZE_BYTES`` that a client takes out of it."""

    key: str
    body: bytes
    payload: bytes


def _bytes() -> Thing:
    data = os.urandom(SIZE_BYTES)
    return Thing("big.bin", data, data)


def _film() -> Thing:
    """Noise that a player plays: 8 kHz, 16 bit, one channel; as ffmpeg writes it, so that a copy is the same file."""
    sound = os.urandom(SIZE_BYTES)
    head = b"RIFF" + (36 + SIZE_BYTES).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + (8000).to_bytes(4, "little")
    form += (16_000).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    film = head + form + b"data" + SIZE_BYTES.to_bytes(4, "little") + sound
    return Thing("film.wav", film, sound)


def _film_with_index_at_end() -> Thing:
    """The same in a container whose index comes last, as cameras and most encoders write it: players seek there first."""
    sound = _film()
    with tempfile.TemporaryDirectory() as folder:
        source, film = pathlib.Path(folder, "film.wav"), pathlib.Path(folder, "film.mov")
        source.write_bytes(sound.body)
        subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-c", "copy", film], check=True, timeout=60)
        return Thing("film.mov", film.read_bytes(), sound.payload)


def _wheel() -> Thing:
    data, body, info = os.urandom(SIZE_BYTES), io.BytesIO(), "payload-1.0.dist-info"
    with zipfile.ZipFile(body, "w") as made:
        made.writestr("payload/data.bin", data)
        made.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: payload\nVersion: 1.0\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", f"payload/data.bin,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return Thing("payload-1.0-py3-none-any.whl", body.getvalue(), data)


def _npm_package() -> Thing:
    data, body = os.urandom(SIZE_BYTES), io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz", compresslevel=0) as made:
        for name, content in (("package.json", b'{"name": "payload", "version": "1.0.0"}'), ("data.bin", data)):
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(content), 0o644
            made.addfile(member, io.BytesIO(content))
    return Thing("payload-1.0.0.tgz", body.getvalue(), data)


THINGS: Mapping[str, Callable[[], Thing]] = {
    "bytes": _bytes,
    "film": _film,
    INDEX_LAST: _film_with_index_at_end,
    "wheel": _wheel,
    "npm package": _npm_package,
}


PAGE = pathlib.Path(__file__).parents[2] / "docs" / "clients.md"
_ROW = re.compile(r"\| (?P<name>[^|]+) \| (?P<version>[^|]+) \| (?P<verdict>[^|]+(?: \| [^|]+){3}) \|")
_BEGIN, _END = "<!-- written by tools/gen_clients.py -->\n", "<!-- end -->\n"
_HEAD = "| Client | Version | Whole | Sent | Again | After a cut |\n|---|---|---|---|---|---|\n"

Rows = dict[str, tuple[str, Verdict]]


def read_page() -> Rows:
    """The rows of docs/clients.md, by client: its version and what it did."""
    table = PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0].removeprefix(_HEAD)
    rows: Rows = {}
    for line in table.splitlines():
        found = _ROW.fullmatch(line)
        assert found is not None, line
        rows[found["name"].strip("`")] = found["version"], Verdict(*found["verdict"].split(" | "))
    return rows


def write_page(rows: Rows) -> None:
    """Write the table of docs/clients.md, in the order of ``CLIENTS``."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    lines = [
        f"| `{client.name}` | {rows[client.name][0]} | {' | '.join(rows[client.name][1])} |\n"
        for client in CLIENTS
        if client.name in rows
    ]
    PAGE.write_text(f"{before}{_BEGIN}{_HEAD}{''.join(lines)}{_END}{rest.partition(_END)[2]}")


def programs(parts: pathlib.Path) -> dict[str, str]:
    """Where programs are that are not on PATH: the Python of the clients of PyPI, made once, and oncegate.

    Raises:
        RuntimeError: there is no package index.
    """
    return {
        "python": str(environment(parts / "clients" / "venv", PACKAGES)),
        "uv": str(parts / "uv" / "bin" / "uv"),
        "oncegate": str(ONCEGATE),
    }


ONCEGATE = pathlib.Path(sys.executable).with_name("oncegate")
