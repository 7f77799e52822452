"""Three gateways on one ledger behind a server are one: races, cuts, revocations, and a ledger that does not answer."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from oncegate.control.tokens import TokenFile
from oncegate.testing.installation import Installation, Serving, free_port
from oncegate.testing.races import race
from oncegate.testing.raw_http import RawAnswer, RawConnection, ask, target_of
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.process import Server
from oncegate.testing.servers.redis import RedisServer

CALLERS, GATEWAYS = 48, 3
BODY = b"only one of you may read this: " + bytes(range(256)) * 40
BIG = bytes(range(256)) * 196_608  # 48 MiB: what sockets hold counts as delivered, and must fit into the slack
TOLD_WITHIN_S, BACK_WITHIN_S = 5.0, 5.0

pytestmark = pytest.mark.system


@dataclass(frozen=True, slots=True)
class Fleet:
    """Gateways, and what they share."""

    server: Server
    made: Installation
    gateways: list[Serving]
    token: str

    def urls(self) -> list[str]:
        """Where the viewers' listeners are."""
        return [gateway.viewer_url for gateway in self.gateways]

    def control(self, number: int, method: str, path: str, body: dict[str, object] | None = None) -> RawAnswer:
        """Ask the control API of one gateway."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return ask(method, self.gateways[number].control_url + path, headers, data)


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Fleet]:
    """Three gateways over one server."""
    folder: pathlib.Path = tmp_path_factory.mktemp(request.param)
    kind = {"postgresql": PostgresqlServer, "redis": RedisServer}[request.param]
    with kind(folder / "server") as server, contextlib.ExitStack() as stack:
        (folder / "gate").mkdir()
        made = Installation(folder / "gate", tables={"ledger": {"url": server.url}})
        made.put("secret.bin", BODY)
        made.put("big.bin", BIG)
        token, _ = TokenFile(made.folder / "tokens.json").new("test", ["*"], now_s=int(time.time()))
        configs = [made.write_config(f"gateway-{n}.toml", port=free_port()) for n in range(GATEWAYS)]
        with ThreadPoolExecutor(GATEWAYS) as pool:
            gateways = list(pool.map(lambda config: stack.enter_context(made.serve(config)), configs))
        yield Fleet(server, made, gateways, token)
        server.thaw()


@pytest.mark.anyio
async def test_losers_get_no_bytes(fleet: Fleet) -> None:
    """48 callers race one link over three gateways: one has the object, and no other a byte of it."""
    for _ in range(20):
        answers = await race(fleet.made.link("secret.bin"), fleet.urls(), callers=CALLERS)
        assert [body for status, body in answers if status == 200] == [BODY]
        losers = [(status, body) for status, body in answers if status != 200]
        assert {status for status, _ in losers} == {403}
        assert not [body for _, body in losers if BODY[:16] in body]


def test_metrics_tell_how_many_claims_shared_a_request(fleet: Fleet) -> None:
    """48 links opened at once at one gateway: every claim is in a batch, and the batches are counted by their size."""

    def batches() -> dict[str, float]:
        lines = fleet.control(0, "GET", "/metrics").body.decode().splitlines()
        rows = (line.partition(" ") for line in lines if line.startswith("oncegate_ledger_batch_size_"))
        return {name.partition("size_")[2]: float(value) for name, _, value in rows if 'call="write"' in name}

    before, links = batches(), [fleet.made.link("secret.bin") for _ in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda link: ask("GET", link, at=fleet.urls()[0]), links))
    assert {answer.status for answer in answers} == {200}
    rise = {name: value - before[name] for name, value in batches().items()}
    assert rise['sum{call="write"}'] == CALLERS
    assert 1 <= rise['count{call="write"}'] == rise['bucket{call="write",le="+Inf"}'] <= CALLERS
    assert rise['bucket{call="write",le="64.0"}'] == rise['count{call="write"}']


@pytest.mark.anyio
async def test_uses_are_counted_over_all_gateways(fleet: Fleet) -> None:
    """A link for five opens five times, wherever it is opened."""
    answers = await race(fleet.made.link("secret.bin", uses=5), fleet.urls(), callers=CALLERS)
    assert sorted(status for status, _ in answers) == [200] * 5 + [403] * (CALLERS - 5)


def test_a_cut_download_is_continued_elsewhere(fleet: Fleet, until: Callable[..., object]) -> None:
    """The holder shows the cookie at another gateway and gets the rest; a stranger gets nothing there."""
    link = fleet.made.link("big.bin")
    first, second, third = fleet.urls()
    with RawConnection(first, receive_buffer_bytes=65_536) as connection:
        connection.send_request("GET", target_of(link), host="127.0.0.1")
        head = connection.read_head()
        begun = connection.read_some(1_000_000)
    assert head.status == 200
    headers = {"Cookie": head.cookie, "Range": f"bytes={len(begun)}-"}

    def rest_of_it() -> RawAnswer | None:
        answer = ask("GET", link, headers, at=second)
        if answer.status != 503:
            return answer
        assert int(answer.header("retry-after") or 0) >= 1
        return None

    rest: Any = until(rest_of_it, "the first gateway has settled")
    assert rest.status == 206
    assert begun + rest.body == BIG
    for url in (first, second, third):
        assert ask("GET", link, {"Range": f"bytes={len(begun)}-"}, at=url, source="127.0.0.9").status == 403


def test_a_link_revoked_through_one_is_refused_by_all_at_once(fleet: Fleet) -> None:
    """The first request after the answer to the revocation is refused, at whichever gateway it comes."""
    wish = {"key": "secret.bin", "expires_in": "1h"}
    for number in range(GATEWAYS):
        made = json.loads(fleet.control(number, "POST", "/v1/links", wish).body)
        assert ask("HEAD", made["url"], at=fleet.urls()[number - 1]).status == 200
        assert fleet.control(number, "DELETE", f"/v1/links/{made['id']}").status in {200, 204}
        for url in fleet.urls():
            refused = ask("GET", made["url"], at=url)
            assert refused.status == 403
            assert BODY[:16] not in refused.body


@pytest.mark.parametrize("outage", ["freeze", "kill"])
def test_without_its_ledger_nothing_is_served(
    fleet: Fleet,
    outage: str,
    until: Callable[..., object],
    within: Callable[[float], contextlib.AbstractContextManager[None]],
) -> None:
    """503 with Retry-After within five seconds, not a byte; service again by itself, and a spent link stays spent."""
    spent, fresh = fleet.made.link("secret.bin"), fleet.made.link("secret.bin")
    assert ask("GET", spent, at=fleet.urls()[0]).status == 200
    if outage == "freeze":
        fleet.server.freeze()
    else:
        fleet.server.kill()
    try:
        with ThreadPoolExecutor(3 * GATEWAYS) as pool, within(TOLD_WITHIN_S):
            told = list(pool.map(lambda url: ask("GET", fresh, at=url), fleet.urls() * 3))
    finally:
        if outage == "freeze":
            fleet.server.thaw()
        else:
            fleet.server.start()
    for answer in told:
        assert answer.status == 503
        assert int(answer.header("retry-after") or 0) >= 1
        assert BODY[:16] not in answer.body

    def opened(url: str, link: str) -> RawAnswer | None:
        answer = ask("GET", link, at=url)
        return None if answer.status == 503 else answer

    with within(BACK_WITHIN_S):
        for url in fleet.urls():
            served: Any = until(lambda url=url: opened(url, fleet.made.link("secret.bin")), "it serves again")
            assert served.body == BODY
    assert ask("GET", spent, at=fleet.urls()[1]).status == 403
    # what landed late, of viewers who were all sent away, is given back
    mine: Any = until(lambda: (answer := ask("GET", fresh, at=fleet.urls()[2])).status == 200 and answer, "it is free")
    assert mine.body == BODY
