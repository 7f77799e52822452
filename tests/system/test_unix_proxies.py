"""nginx, HAProxy and Caddy before a gateway on a Unix socket, by the words of docs/guides/behind-a-proxy.md."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Callable

import pytest

from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation, Serving, free_port
from oncegate.testing.raw_http import ask

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "behind-a-proxy.md"
NEAR, FAR = "127.0.0.2", "127.0.0.3"
BIG = bytes(range(256)) * 40_000

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.xdist_group("proxies")]


def line_of(pattern: str, socket: pathlib.Path) -> str:
    """Return what the guide says for one proxy, with another path."""
    found = re.findall(rf"`({pattern}[^`]*)`", GUIDE.read_text())
    (line,) = (line for line in found if "/run/oncegate/viewer.sock" in line)
    return line.replace("/run/oncegate/viewer.sock", str(socket))


def nginx(folder: pathlib.Path, port: int, socket: pathlib.Path) -> list[str]:
    """Set nginx."""
    (folder / "nginx.conf").write_text(
        f"pid nginx.pid; error_log nginx.log crit; events {{}} http {{ access_log off; server {{"
        f" listen 127.0.0.1:{port}; location / {{ {line_of('proxy_pass', socket)} proxy_http_version 1.1;"
        f" proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;"
        f" client_max_body_size 0; }} }} }}"
    )
    # its workers need the right to the socket: as root they would be nobody
    user = "user root; " if os.geteuid() == 0 else ""
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", f"{user}daemon off;"]


def haproxy(folder: pathlib.Path, port: int, socket: pathlib.Path) -> list[str]:
    """Set HAProxy."""
    (folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 75s\n timeout server 75s\n"
        f"frontend links\n bind 127.0.0.1:{port}\n http-request del-header x-forwarded-for\n option forwardfor\n"
        f" default_backend oncegate\nbackend oncegate\n {line_of('server gateway', socket)}\n"
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(folder: pathlib.Path, port: int, socket: pathlib.Path) -> list[str]:
    """Set Caddy."""
    own = "{\n admin off\n auto_https off\n}\n"
    (folder / "Caddyfile").write_text(f"{own}http://127.0.0.1:{port} {{\n {line_of('reverse_proxy', socket)}\n}}\n")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.mark.parametrize("proxy", [nginx, haproxy, caddy], ids=["nginx", "haproxy", "caddy"])
def test_a_gateway_on_a_unix_socket_knows_the_viewer(
    proxy: Callable[[pathlib.Path, int, pathlib.Path], list[str]],
    tmp_path: pathlib.Path,
    require_tool: Callable[[str], str],
    until: Callable[..., object],
) -> None:
    """A link for one address opens there alone, whatever header a viewer sends; and an upload goes through."""
    port = free_port()
    (tmp_path / "gate").mkdir()
    made = Installation(tmp_path / "gate", tables={"viewer": {"trusted_proxies": ["unix:"]}})
    made.public_url = f"http://127.0.0.1:{port}"
    config = made.write_config(viewer={"public_url": made.public_url})
    made.put("near.bin", BIG)
    socket = made.folder / "viewer.sock"
    program, *arguments = proxy(tmp_path, port, socket)
    with (
        made.serve(config, environ={"ONCEGATE_VIEWER__LISTEN": "unix:viewer.sock"}) as gateway,
        subprocess.Popen(
            [require_tool(program), *arguments], cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": "/nowhere"}
        ) as process,
    ):
        try:
            until(lambda: is_up(made, process), "the proxy answers")
            link = made.link("near.bin", source_ip=f"{NEAR}/32")
            assert ask("GET", link, {"X-Forwarded-For": NEAR}, source=FAR).status == 403
            assert ask("GET", link, source=NEAR).body == BIG
            assert ask("GET", link, source=NEAR).status == 403
            assert ask("PUT", made.link("up.bin", operation=Operation.PUT), body=BIG).status == 200
            assert (made.objects / "up.bin").read_bytes() == BIG
            until(lambda: NEAR in logged(gateway), "the viewer's address is logged")
        finally:
            process.terminate()


def is_up(made: Installation, process: subprocess.Popen[bytes]) -> bool:
    """Whether the proxy leads to the gateway, for whoever has no link."""
    assert process.poll() is None
    try:
        return ask("GET", f"{made.public_url}/nothing").status == 403
    except OSError:
        return False


def logged(gateway: Serving) -> set[object]:
    """The addresses in the log."""
    return {line.get("address") for line in gateway.log_lines()}
