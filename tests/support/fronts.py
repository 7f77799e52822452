"""nginx and Caddy before a gateway that hands over to them, set as the guide says: its blocks are run."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import httpx

from homes import Home, link_id_of
from oncegate.links.link_id import text_of_id
from oncegate.links.media_types import media_type_of
from oncegate.links.urls import escape, parse_url
from oncegate.testing.certificates import make_authority
from oncegate.testing.installation import free_port
from oncegate.testing.raw_http import RawAnswer, RawConnection, ask, target_of
from wrong_s3 import WrongS3

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "let-the-proxy-send.md"
_FENCE = re.compile(r"^```(?:nginx|caddyfile)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRONTS = ("nginx folder", "caddy folder", "nginx bucket", "caddy bucket")
ADA, BOB = "127.0.0.2", "127.0.0.3"
"""Viewers; the proxy is at 127.0.0.1."""

Until = Callable[..., object]


def block_of(title: str) -> str:
    """The configuration under a heading of the guide."""
    section = GUIDE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = _FENCE.search(section)
    assert found is not None, f"the guide has no block under {title!r}"
    return found[1]


class Front(Home):
    """An installation in mode ``accel`` and a proxy before it.

    Args:
        folder: empty, and open to the proxy's workers.
        name: one of ``FRONTS``.
        more: settings, by table.

    Attributes:
        changes: what a test has otherwise than the guide, old and new, of the proxy's configuration with its real ports.
    """

    def __init__(self, folder: pathlib.Path, name: str, **more: dict[str, object]) -> None:
        self.proxy_name, _, self.kind = name.partition(" ")
        self.front_port, self.log_port = free_port(), free_port()
        self.bucket = WrongS3() if self.kind == "bucket" else None
        prefix = "/_bucket/" if self.bucket else "/_objects/"
        accel = {"mode": "accel", "accel_log": f"127.0.0.1:{self.log_port}", "accel_prefix": prefix}
        tables: dict[str, dict[str, object]] = {
            "viewer": {"trusted_proxies": ["127.0.0.1"], "drain": "2s"},
            "delivery": {**accel, **more.pop("delivery", {})},
            **more,
        }
        if self.bucket:
            tables["store"] = {"url": "s3://objects/team a"}
            tables["store.options"] = {
                "aws_endpoint": self.bucket.url, "aws_access_key_id": "test", "aws_secret_access_key": "secret",
                "aws_region": "us-east-1", "aws_allow_http": "true",
            }  # fmt: skip
        super().__init__(folder, tables=tables)  # type: ignore[arg-type]  # test tables
        # links lead to the proxy, and the gateway is told so
        self.gateway_url = self.public_url
        self.public_url = f"http://127.0.0.1:{self.front_port}"
        self.write_config()
        self.changes: list[tuple[str, str]] = []
        self._proxy: subprocess.Popen[bytes] | None = None

    def put(self, key: str, data: bytes) -> pathlib.Path:
        """Lay an object into the folder or the bucket."""
        if self.bucket is None:
            return super().put(key, data)
        path = f"{self.bucket.url}/objects/team%20a/{escape(key, safe='/')}"
        assert ask("PUT", path, {"Content-Type": media_type_of(key)}, data).status == 200
        return self.folder

    @contextlib.contextmanager
    def running(self, until: Until, require_tool: Callable[[str], str]) -> Iterator[Front]:
        """Run bucket, gateway and proxy."""
        require_tool(self.proxy_name)
        with contextlib.ExitStack() as stack:
            if self.bucket:
                stack.enter_context(self.bucket)
            self.serving = stack.enter_context(self.serve())
            stack.callback(self.stop_proxy)
            self.start_proxy(until)
            yield self

    def start_proxy(self, until: Until) -> None:
        """Start nginx or Caddy, also again."""
        command = self._nginx() if self.proxy_name == "nginx" else self._caddy()
        environ = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        with (self.folder / "proxy.log").open("ab") as sink:
            self._proxy = subprocess.Popen(command, cwd=self.folder, env=environ, stdout=sink, stderr=sink)
        until(self._is_up, f"{self.proxy_name} answers")

    def stop_proxy(self) -> None:
        """End it."""
        if self._proxy is not None:
            self._proxy.terminate()
            try:
                self._proxy.wait(20)
            except subprocess.TimeoutExpired:  # Caddy waits for its viewers without end
                self._proxy.kill()
                self._proxy.wait(20)
            self._proxy = None

    def kill_proxy(self) -> None:
        """End by SIGKILL whatever sends: nginx's worker, or Caddy."""
        assert self._proxy is not None
        pid = self._proxy.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in children if self.proxy_name == "nginx" else [pid]:
            os.kill(int(each), signal.SIGKILL)
        if self.proxy_name == "caddy":
            self._proxy.wait(60)
            self._proxy = None

    def get(self, url: str, headers: dict[str, str] | None = None, *, source: str = ADA) -> RawAnswer:
        """Ask the proxy."""
        return ask("GET", url, headers or {}, source=source)

    @contextlib.contextmanager
    def begun(self, url: str, *, source: str = ADA, **headers: str) -> Iterator[tuple[RawAnswer, RawConnection]]:
        """A download whose viewer has read the head and reads slowly."""
        with RawConnection(url, source=source, receive_buffer_bytes=65_536) as connection:
            connection.send_request("GET", target_of(url), host=parse_url(url).host, headers=headers)
            yield connection.read_head(), connection

    @contextlib.contextmanager
    def out_of_the_proxys_reach(self) -> Iterator[None]:
        """Let the gateway still see the objects, and the proxy not."""
        if self.bucket is not None:
            self.bucket.faults.add("503-get")
            try:
                yield
            finally:
                self.bucket.faults.discard("503-get")
            return
        aside = self.objects.rename(self.folder / "aside")
        try:
            yield
        finally:
            aside.rename(self.objects)

    def say(self, datagram: bytes) -> None:
        """Send something to the gateway's log socket, as the proxy would."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(datagram, ("127.0.0.1", self.log_port))

    def dropped_lines(self) -> int:
        """How many datagrams the kernel has dropped because the gateway's log socket was full."""
        sockets = (line.split() for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:])
        return next(int(words[-1]) for words in sockets if int(words[1].partition(":")[2], 16) == self.log_port)

    def handed_over(self) -> int:
        """How many requests the gateway has handed over."""
        return sum(line.get("outcome") == "sent by the proxy" for line in self.serving.log_lines())

    def under_way(self, url: str) -> int:
        """How many transfers of a link were handed over whose end was not told yet."""
        link_id = text_of_id(link_id_of(url))
        begun = [
            line
            for line in self.serving.log_lines()
            if line.get("link_id") == link_id and line.get("outcome") == "sent by the proxy"
        ]
        return len(begun) - len(self.ends(url))

    def _is_up(self) -> bool:
        assert self._proxy is not None
        assert self._proxy.poll() is None, (self.folder / "proxy.log").read_text(errors="replace")
        try:
            return httpx.get(f"{self.public_url}/nothing", verify=False, timeout=60).status_code == 403
        except httpx.TransportError:
            return False

    def _set(self, text: str, *pairs: tuple[str, str]) -> str:
        ports = (
            ("127.0.0.1:8088", f"127.0.0.1:{self.front_port}"),
            ("127.0.0.1:8080", parse_url(self.gateway_url).host),
            ("127.0.0.1:8089", f"127.0.0.1:{self.log_port}"),
        )
        for old, new in (*ports, *pairs):
            text = text.replace(old, new)
        for old, new in self.changes:
            assert old in text, f"the guide no longer says {old!r}"
            text = text.replace(old, new)
        return text

    def behind_tls(self) -> None:
        """Let the proxy speak TLS, and HTTP/2 to whom asks for it; its authority is ``ca.pem``."""
        authority = make_authority()
        certificate, key = authority.issue("127.0.0.1")
        for name, pem in (("tls.pem", certificate), ("tls.key", key), ("ca.pem", authority.certificate)):
            (self.folder / name).write_bytes(pem)
        self.public_url = f"https://127.0.0.1:{self.front_port}"
        self.write_config()
        listen = f"listen 127.0.0.1:{self.front_port}"
        files = "ssl_certificate tls.pem; ssl_certificate_key tls.key;"
        if self.proxy_name == "nginx":
            self.changes.append((f"{listen};", f"{listen} ssl http2; {files}"))
        else:
            self.changes.append(("    bind 127.0.0.1", "    bind 127.0.0.1\n    tls tls.pem tls.key"))

    def _nginx(self) -> list[str]:
        text = self._set(
            block_of(f"nginx, objects in a {self.kind}"), ("alias objects/;", f"alias {self.folder}/objects/;")
        )
        folders = "".join(f"{each}_temp_path tmp-{each}; " for each in ("proxy", "fastcgi", "uwsgi", "scgi"))
        head = (
            f"user root; worker_processes 1; pid nginx.pid; events {{}}\nhttp {{ client_body_temp_path tmp; {folders}\n"
        )
        (self.folder / "nginx.conf").write_text(f"{head}{text}}}\n")
        return ["nginx", "-p", str(self.folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]

    def _caddy(self) -> list[str]:
        text = self._set(
            block_of(f"Caddy, objects in a {self.kind}"),
            ("/srv/oncegate/objects", str(self.objects)),
            ("https://my-bucket.s3.eu-central-1.amazonaws.com", self.bucket.url if self.bucket else ""),
            # any Host: Caddy logs no request whose Host is not the site's, and a relay has another port
            ("files.example {", f":{self.front_port} {{\n    bind 127.0.0.1"),
        )
        (self.folder / "Caddyfile").write_text(text.replace("{\n", "{\n    admin off\n    auto_https off\n", 1))
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(self.folder / "Caddyfile")]
