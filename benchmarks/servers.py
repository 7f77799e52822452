"""The servers that are measured: ``oncegate serve`` over a ledger, and nginx in four ways, with Redis beside it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncegate.ledgers.opening import create_ledger
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation, free_port
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

MODULES = Path("/usr/lib/nginx/modules")
WITHIN_S = 60
_LUA = Path(__file__).parent / "peers.lua"
_SECRET = "a secret of nginx"


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers.

    Attributes:
        name: as the tables have it.
        port: of 127.0.0.1.
        pids: returns its processes, whose descendants count with them.
    """

    name: str
    port: int
    pids: Callable[[], Sequence[int]]


class Links:
    """Signs many links at once, on all cores; of an installation or, by its path alone, for nginx's own signature."""

    def __init__(self, made: Installation) -> None:
        self.made = made

    def targets(self, key: str, count: int, operation: Operation = Operation.GET) -> list[str]:
        """Return the targets of fresh links, each good for one use."""
        return self.each([key] * count, operation)

    def each(self, keys: Sequence[str], operation: Operation) -> list[str]:
        """Return a target for each key."""
        cores = os.cpu_count() or 1
        # the key that signs cannot be sent to another process, but be there when it is forked
        with multiprocessing.get_context("fork").Pool(cores, _SIGNING.append, (self.made,)) as pool:
            shares = pool.starmap(_sign, [(keys[first::cores], operation) for first in range(cores)])
        return [target for share in shares for target in share]

    def weak_targets(self, key: str, count: int) -> list[str]:
        """Return as many with the signature of nginx's secure_link, MD5 over a shared secret."""
        expires_s = int(time.time()) + 3_600
        return [self._weak(key, expires_s, os.urandom(16).hex()) for _ in range(count)]

    def _weak(self, key: str, expires_s: int, once: str) -> str:
        digest = hashlib.md5(f"{expires_s}/{key}{once} {_SECRET}".encode()).digest()
        text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return f"/{key}?md5={text}&expires={expires_s}&once={once}"


_SIGNING: list[Installation] = []


def _sign(keys: Sequence[str], operation: Operation) -> list[str]:
    made = _SIGNING[-1]
    return [made.link(key, operation=operation)[len(made.public_url) :] for key in keys]


@contextlib.contextmanager
def oncegate(made: Installation, kind: str, folder: Path, *, name: str = "") -> Generator[Server]:
    """Serve over a ledger ``sqlite``, ``postgresql`` or ``redis``, whose server counts with it."""
    with contextlib.ExitStack() as stack:
        database: PostgresqlServer | RedisServer | None = None
        port, config = made.port, made.folder / "oncegate.toml"
        if kind != "sqlite":
            server = PostgresqlServer if kind == "postgresql" else RedisServer
            database = stack.enter_context(server(folder))
            create_ledger(database.url, folder=made.folder)
            port = free_port()
            config = made.write_config(f"{kind}.toml", port=port, ledger={"url": database.url})
        serving = stack.enter_context(made.serve(config))
        own = serving.process.pid
        yield Server(name or f"oncegate, {kind}", port, lambda: [own, *(database.pids() if database else ())])


NGINX = """
load_module {modules}/ndk_http_module.so; load_module {modules}/ngx_http_lua_module.so;
{user}worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log {folder}/access.log; sendfile on; default_type application/octet-stream; keepalive_requests 10000000;
  client_body_temp_path {folder}/body; client_max_body_size 0;
  proxy_temp_path {folder}/t1; fastcgi_temp_path {folder}/t2; uwsgi_temp_path {folder}/t3; scgi_temp_path {folder}/t4;
  init_worker_by_lua_block {{ check, spend = loadfile("{lua}")(
    {{ keys = "{made.folder}/keys", public_url = "{made.public_url}", redis_port = {redis} }}) }}
  server {{ listen 127.0.0.1:{lua_port} backlog=1024; root {made.objects};
    location / {{ access_by_lua_block {{ check() }} add_header Cache-Control "private, no-store"; }} }}
  server {{ listen 127.0.0.1:{weak_port} backlog=1024; root {made.objects};
    secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri$arg_once {secret}";
    location / {{ if ($secure_link != "1") {{ return 403; }} access_by_lua_block {{ spend() }} }} }}
  server {{ listen 127.0.0.1:{static_port} backlog=1024; root {made.objects}; }}
  server {{ listen 127.0.0.1:{dav_port} backlog=1024; root {folder}/dav; location / {{ dav_methods PUT; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Peers:
    """Nginx in its four ways: one process with one worker, and Redis."""

    lua: Server
    weak: Server
    static: Server
    dav: Server


def missing_peers() -> str:
    """Say what of the peers is not installed; empty: nothing."""
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        return "nginx is not installed"
    if not (MODULES / "ngx_http_lua_module.so").exists():
        return "libnginx-mod-http-lua is not installed"
    return ""


@contextlib.contextmanager
def peers(made: Installation, folder: Path) -> Generator[Peers]:
    """Run nginx with one worker, and Redis that forces every write to the disk."""
    ports = {name: free_port() for name in ("lua", "weak", "static", "dav")}
    (folder / "dav").mkdir()
    with RedisServer(folder) as redis:
        (folder / "nginx.conf").write_text(
            NGINX.format(
                modules=MODULES, user="user root; " if os.geteuid() == 0 else "", folder=folder, lua=_LUA, made=made,
                redis=redis.port, secret=_SECRET, **{f"{name}_port": port for name, port in ports.items()},
            )
        )  # fmt: skip
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        command = [shutil.which("nginx", path=path) or "nginx", "-c", str(folder / "nginx.conf")]
        master = subprocess.Popen([*command, "-e", str(folder / "error.log")])
        try:
            _wait_until_it_listens(master, folder, ports["dav"])
            yield Peers(
                Server("nginx + Lua + Redis", ports["lua"], lambda: [master.pid, *redis.pids()]),
                Server("nginx secure_link + Redis (weaker)", ports["weak"], lambda: [master.pid, *redis.pids()]),
                Server("nginx, static files", ports["static"], lambda: [master.pid]),
                Server("nginx, dav", ports["dav"], lambda: [master.pid]),
            )
        finally:
            master.terminate()
            master.wait(WITHIN_S)


def _wait_until_it_listens(master: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s and master.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nginx does not answer: {(folder / 'error.log').read_text()}")
