"""An image without a container engine: a Debian by debootstrap, the steps of the Dockerfile in it, and programs that run.

Only what the Dockerfile and the guides use of ``docker``. The base is Debian's Python in place of the image that
``FROM`` names; a container shares the network of this machine, and is a mount namespace of its own otherwise. Needs root.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncegate.testing.servers.process import ProgramMissing

ROOT = pathlib.Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
_MIRROR = "http://deb.debian.org/debian"
_OF_THE_HOST = ("/etc/resolv.conf", "/etc/ssl/certs")
"""What a build needs to reach a package index from here."""


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def debian(parts: pathlib.Path) -> pathlib.Path:
    """A root of Debian with Python, made once for all.

    Raises:
        ProgramMissing: it cannot be made here.
    """
    program = shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or os.geteuid() != 0:
        raise ProgramMissing("debootstrap, and root: an image is made without a container engine")
    place = parts / "image" / "debian"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place.parent / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            packages = "--include=python3,python3-venv,ca-certificates"
            command = [program, "--variant=minbase", packages, "bookworm", str(place), _MIRROR]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
            if done.returncode:
                raise RuntimeError(f"debootstrap: {done.stdout[-2_000:]}{done.stderr[-2_000:]}")
            (place / "usr" / "local" / "bin" / "python").symlink_to("/usr/bin/python3")
            (place.parent / "made").touch()
    return place


@dataclass
class Container:
    """What a stage, or a container, is while something runs in it.

    Attributes:
        root: of its file system.
        environ: its variables.
        folder: where it works.
        user: ``uid:gid``; empty: root.
        entrypoint: what its commands are arguments of.
        command: what runs where nothing is named.
        volumes: folders of this machine by their place in it.
        is_read_only: its root cannot be written.
    """

    root: pathlib.Path
    environ: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    folder: str = "/"
    user: str = ""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    volumes: Mapping[str, pathlib.Path] = field(default_factory=dict)
    is_read_only: bool = False

    def arguments(self, command: Sequence[str], *, binds: Sequence[str] = ()) -> list[str]:
        """The command that runs another in it; the process is that command itself, so signals reach it."""
        root = shlex.quote(str(self.root))
        steps = [f"mount --bind {root} {root}"]
        steps += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev")]
        steps += [f"mount --bind {place} {root}{place}" for place in binds]
        steps += [f"mount --bind {shlex.quote(str(here))} {root}{place}" for place, here in self.volumes.items()]
        steps += [f"mount -o remount,bind,ro {root}"] if self.is_read_only else []
        inside = [*(["--userspec", self.user] if self.user else []), str(self.root)]
        inner = ["/bin/sh", "-c", f'cd {self.folder} && exec "$@"', "sh", *command]
        steps.append("exec chroot " + shlex.join([*inside, *inner]))
        return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", "\n".join(steps)]


def build(folder: pathlib.Path, parts: pathlib.Path) -> Container:
    """Follow the Dockerfile, stage by stage; what comes of its last one.

    Args:
        folder: empty; where the roots of the stages go.
        parts: where the Debian is kept.
    """
    base, stages = debian(parts), dict[str, Container]()
    stage = Container(folder)
    for word, rest in instructions():
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stage = stages[name] = Container(folder / name)
            subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(stage.root)], check=True)
        else:
            _follow(stage, word, rest, stages)
    return stage


def _follow(stage: Container, word: str, rest: str, stages: Mapping[str, Container]) -> None:
    match word:
        case "RUN":
            kept = {name: value for name, value in os.environ.items() if "PROXY" in name.upper() or "SSL_CERT" in name}
            done = subprocess.run(
                stage.arguments(["sh", "-c", rest], binds=_OF_THE_HOST),
                env={**kept, **stage.environ}, capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
            assert done.returncode == 0, f"{rest}\n{done.stdout[-3_000:]}{done.stderr[-3_000:]}"
        case "COPY":
            _copy(stage, shlex.split(rest), stages)
        case "ENV":
            for entry in shlex.split(rest):
                name, _, value = entry.partition("=")
                stage.environ[name] = value.replace("$PATH", stage.environ["PATH"])
        case "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = rest
        case "ENTRYPOINT" | "CMD":
            setattr(stage, "entrypoint" if word == "ENTRYPOINT" else "command", re.findall(r'"([^"]*)"', rest))
        case _:
            assert word in {"ARG", "LABEL", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}, word


def _copy(stage: Container, words: list[str], stages: Mapping[str, Container]) -> None:
    origin = ROOT
    if words[0].startswith("--from="):
        origin = stages[words.pop(0).partition("=")[2]].root
    *sources, target = words
    place = stage.root / (stage.folder.strip("/") if target.startswith(".") else "") / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    for source in sources:
        found = origin / source.lstrip("/")
        arguments = [f"{found}/.", str(place)] if found.is_dir() else [str(found), str(place)]
        place.mkdir(exist_ok=True) if found.is_dir() else None
        subprocess.run(["cp", "-a", "--no-preserve=ownership", *arguments], check=True)


class Docker:
    """As much of the command ``docker`` as the guides use, over one image that was built.

    Args:
        image: as ``build`` made it.
        folder: where volumes go.
    """

    def __init__(self, image: Container, folder: pathlib.Path) -> None:
        self._image = image
        self._folder = folder
        self._running: dict[str, tuple[Container, subprocess.Popen[bytes]]] = {}

    def run(self, line: str, *, replaced: Mapping[str, str], given: bytes = b"") -> str:
        """Run one line of a guide: ``docker run ...`` or ``docker exec ...``; what it printed.

        Args:
            line: without what the shell redirects.
            replaced: values of variables that are exchanged, for ports of this machine.
            given: standard input.
        """
        program, verb, *words = shlex.split(line)
        assert program == "docker"
        options, words = _options(words)
        if verb == "exec":
            container, _ = self._running[words[0]]
            return self._finished(container, words[1:], given)
        assert verb == "run"
        _, *command = words
        named = dict(entry.split("=", 1) for entry in options.get("--env", ()))
        assert named.keys() <= replaced.keys()
        container = Container(**{**vars(self._image), "is_read_only": "--read-only" in options})
        container.environ = {**self._image.environ, **named, **replaced}
        container.volumes = {place: self._volume(name) for name, place in _pairs(options.get("--volume", ()))}
        full = [*container.entrypoint, *(command or container.command)]
        if "--detach" not in options:
            return self._finished(container, full, given)
        process = subprocess.Popen(container.arguments(full), env=container.environ, stderr=sys.stderr)
        self._running[options["--name"][0]] = (container, process)
        return ""

    def stop(self) -> list[int]:
        """Stop what runs, as ``docker stop`` does; the exit statuses."""
        for _, process in self._running.values():
            process.terminate()
        return [process.wait(90) for _, process in self._running.values()]

    def has_ended(self) -> bool:
        """Whether something that should run does not."""
        return any(process.poll() is not None for _, process in self._running.values())

    def _volume(self, name: str) -> pathlib.Path:
        place = self._folder / name
        if not place.exists():  # a new volume is as the image's folder is, with its owner
            subprocess.run(["cp", "-a", str(self._image.root / "state"), str(place)], check=True)
        return place

    def _finished(self, container: Container, command: Sequence[str], given: bytes) -> str:
        done = subprocess.run(
            container.arguments(command), env=container.environ, input=given, capture_output=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


def _options(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Split what begins with two dashes from the rest; some have a value."""
    found: dict[str, list[str]] = {}
    while words and words[0].startswith("--"):
        name = words.pop(0)
        values = found.setdefault(name, [])
        if name in {"--volume", "--env", "--name", "--publish", "--stop-timeout", "--tmpfs"}:
            values.append(words.pop(0))
    return found, words


def _pairs(entries: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, place) for name, _, place in (entry.partition(":") for entry in entries)]
