"""64 MiB behind nginx: sent by it (``mode = "accel"``), through it (``stream``), from a folder and a bucket; nginx alone = 1.

nginx is set as docs/guides/let-the-proxy-send.md says. CPU is that of nginx and the gateway together; the bucket is
ministack, an emulator in Python, whose CPU is left out. nginx that fetches from the same bucket with no gateway before it
is the floor of a bucket: it copies each byte twice, where its own file goes out by sendfile.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.figures import Sample, Spread, WrongAnswers, in_turns
from benchmarks.plan import Chart, Outcome, Plan, Table
from benchmarks.processes import cpu_us
from benchmarks.servers import WITHIN_S, Links
from oncegate.testing.installation import Installation, free_port
from oncegate.testing.servers.object_stores import MinistackServer

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "let-the-proxy-send.md"
PARTS = Path(__file__).parents[2] / ".parts"
SIZE_BYTES = 64 << 20
KEY = "64MiB"
STATIC, FOLDER, BUCKET, STREAM = "nginx, static files", "accel, folder", "accel, bucket", "stream behind nginx"
BARE = "nginx alone, from the bucket"
SETTLE_S = 0.15
DOWNLOADS = 3
"""In a turn, one after the other, each by a curl of its own."""
KNOWN = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
"""Whose presigned URLs ministack checks; it takes no others."""


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    if missing := [name for name in ("nginx", "curl") if shutil.which(name, path=_path()) is None]:
        outcome.left_out.append(f"accel: all of it, because {missing[0]} is not installed")
        return outcome
    data = os.urandom(SIZE_BYTES)
    with contextlib.ExitStack() as stack:
        ways = {
            FOLDER: stack.enter_context(_front(plan.folder / "folder", data, mode="accel")),
            STREAM: stack.enter_context(_front(plan.folder / "stream", data, mode="stream")),
        }
        try:
            server = stack.enter_context(MinistackServer(plan.folder, parts=PARTS))
        except RuntimeError as error:
            outcome.left_out.append(f"accel: a bucket, because {error}")
        else:
            ways[BUCKET] = stack.enter_context(_front(plan.folder / "bucket", data, mode="accel", server=server))
            ways[BARE] = stack.enter_context(_bare(plan.folder / "bare", server))
        ways[STATIC] = stack.enter_context(_static(plan.folder / "folder"))
        plan.say("64 MiB behind nginx, one connection")
        series = in_turns(ways, plan.pick(5, 3, 1))
    outcome.raw[KEY] = series.samples
    table = Table("64 MiB behind nginx, 1 connection", ("Way", "CPU ms", f"{STATIC} = 1"))
    for name in series.samples:
        table.add(name, _thousandth(series.of(name, "cpu_us")), series.ratio(name, STATIC, "cpu_us"))
    outcome.tables.append(table)
    bars = tuple((name, _thousandth(series.of(name, "cpu_us"))) for name in series.samples)
    outcome.charts.append(Chart("accel-64mib", "CPU of nginx and gateway of one download, 64 MiB", "ms", bars))
    for row, name in (("folder", FOLDER), ("bucket", BUCKET), ("bare", BARE), ("stream", STREAM)):
        if name in series.samples:
            outcome.measured[row] = series.ratio(name, STATIC, "cpu_us")
    return outcome


def _thousandth(figure: Spread) -> Spread:
    return Spread(*(value / 1_000 for value in figure))


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextlib.contextmanager
def _front(
    folder: Path, data: bytes, *, mode: str, server: MinistackServer | None = None
) -> Generator[Callable[[int], Sample]]:
    """A gateway behind nginx, and how one turn of it is measured."""
    folder.mkdir()
    port, log = free_port(), f"127.0.0.1:{free_port()}"
    delivery = {"mode": mode, "accel_log": log, "accel_prefix": "/_bucket/" if server else "/_objects/"}
    tables: dict[str, dict[str, str | int | bool | list[str]]] = {
        "viewer": {"trusted_proxies": ["127.0.0.1"]},
        "delivery": {**delivery},
    }
    if server:
        server.make_bucket("objects")
        server.request("PUT", f"objects/{KEY}", content=data).raise_for_status()
        tables |= {"store": {"url": "s3://objects"}, "store.options": {**server.store_options, **KNOWN}}
    made = Installation(folder, tables=tables)
    if not server:
        made.put(KEY, data)
    gateway, made.public_url = made.public_url, f"http://127.0.0.1:{port}"
    made.write_config()
    text = _block("bucket" if server else "folder")
    for old, new in (
        ("127.0.0.1:8088", f"127.0.0.1:{port}"),
        ("http://127.0.0.1:8080", gateway),
        ("127.0.0.1:8089", log),
        ("alias objects/;", f"alias {made.objects}/;"),
    ):
        text = text.replace(old, new)
    with made.serve() as serving, _nginx(folder, text, port) as nginx:
        links = Links(made)
        pids = (serving.process.pid, nginx)
        yield partial(_turn, port, lambda: links.targets(KEY, DOWNLOADS), pids)


@contextlib.contextmanager
def _static(folder: Path) -> Generator[Callable[[int], Sample]]:
    """Let nginx alone serve the same file."""
    port = free_port()
    (folder / "static").mkdir()
    text = f"server {{ listen 127.0.0.1:{port}; access_log off; sendfile on; root {folder}/objects; }}"
    with _nginx(folder / "static", text, port) as nginx:
        yield partial(_turn, port, lambda: [f"/{KEY}"] * DOWNLOADS, (nginx,))


@contextlib.contextmanager
def _bare(folder: Path, server: MinistackServer) -> Generator[Callable[[int], Sample]]:
    """Let nginx fetch the same object from the same bucket, with the guide's buffers and without a gateway."""
    folder.mkdir()
    port, buffers = free_port(), re.search(r"proxy_buffer_size .*;", _block("bucket"))
    text = (
        f"server {{ listen 127.0.0.1:{port}; access_log off; location / {{ proxy_pass {server.url}/objects/;"
        f" proxy_http_version 1.1; proxy_buffering off; {buffers[0] if buffers else ''} }} }}"
    )
    with _nginx(folder, text, port) as nginx:
        yield partial(_turn, port, lambda: [f"/{KEY}"] * DOWNLOADS, (nginx,))


def _turn(port: int, draw: Callable[[], Sequence[str]], pids: Sequence[int], number: int) -> Sample:
    targets = draw()
    before_us = cpu_us(pids)
    for target in targets:
        command = ["curl", "-sf", "-o", os.devnull, "-w", "%{size_download}", f"http://127.0.0.1:{port}{target}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if int(done.stdout) != SIZE_BYTES:
            raise WrongAnswers(f"{done.stdout} bytes came")
    time.sleep(SETTLE_S)
    return {"cpu_us": (cpu_us(pids) - before_us) / len(targets)}


def _block(kind: str) -> str:
    section = GUIDE.read_text().partition(f"\n## nginx, objects in a {kind}\n")[2]
    found = re.search(r"^```nginx\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RuntimeError(f"{GUIDE} has no block for a {kind}")
    return found[1]


@contextlib.contextmanager
def _nginx(folder: Path, text: str, port: int) -> Generator[int]:
    """Run nginx with one worker; yield its process."""
    temporary = "".join(f"{each}_temp_path t-{each}; " for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.geteuid() == 0 else ""
    head = f"{user}worker_processes 1; pid nginx.pid; events {{}}\nhttp {{ {temporary}\n"
    (folder / "nginx.conf").write_text(f"{head}{text}\n}}\n")
    command = [shutil.which("nginx", path=_path()) or "nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with (folder / "nginx.out").open("wb") as out:
        master = subprocess.Popen([*command, "-g", "daemon off;"], stdout=out, stderr=out)
    try:
        end_s = time.monotonic() + WITHIN_S
        while time.monotonic() < end_s and master.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"nginx does not answer: {(folder / 'nginx.out').read_text()}")
        yield master.pid
    finally:
        master.terminate()
        master.wait(WITHIN_S)
