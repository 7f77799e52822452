"""The joined file against a real emulator of DynamoDB: races of processes, gateways beside it, and a bad network."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from edge_world import HOST, PROGRAM, EdgeWorld, header, is_passed_on, link, link_id_of, viewer_event, whole_text

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import Stands
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation
from oncegate.testing import processes
from oncegate.testing.installation import Installation, free_port
from oncegate.testing.races import race
from oncegate.uses.record import Record, from_json

# One worker: it shares its server.
pytestmark = [pytest.mark.xdist_group("edge"), pytest.mark.usefixtures("aws_environment"), pytest.mark.timeout(180)]

PROCESSES, REQUESTS_EACH, LINKS = 10, 5, 20
REQUESTS_EACH_NIGHTLY = 50
RUN = """
import contextlib, io, types
from oncegate.testing.processes import job, ready, say
text, events = job()
function = types.ModuleType("index")
exec(compile(text, "index.py", "exec"), function.__dict__)
ready()
with contextlib.redirect_stdout(io.StringIO()):
    found = [(number, function.handler(event, None)) for number, event in events]
for number, answer in found:
    say(number, answer.get("status", "passed"))
"""


@pytest.fixture(scope="module")
def deployed(ministack: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a table that ``oncegate ledger migrate`` made."""
    folder = tmp_path_factory.mktemp("table")
    create_ledger(f"dynamodb://acme?region=us-east-1&endpoint={ministack.url}", folder=folder)
    time.sleep(0.01)  # a ticket of the same millisecond would be as old as the table
    return str(ministack.url)


@pytest.fixture
def real_world(deployed: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeWorld]:
    """The function over that table."""
    world = EdgeWorld(deployed, monkeypatch)
    yield world
    world.close()


def record_of(url: str, server: str) -> Record | None:
    """What the table says of a link, read as any program of oncegate reads it."""

    async def read() -> Record | None:
        ledger = open_ledger(f"dynamodb://acme?region=us-east-1&endpoint={server}", folder=pathlib.Path())
        try:
            found = await ledger.read(link_id_of(url))
        finally:
            await ledger.aclose()
        return from_json(found.record) if isinstance(found, Stands) else None

    return asyncio.run(read())


def test_of_ten_processes_one_wins_each_link(
    deployed: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """50 requests for each of 20 links, over 10 instances at once, at night 500: one is passed on, the others refused."""
    requests_each = REQUESTS_EACH_NIGHTLY if pytestconfig.getoption("--nightly") else REQUESTS_EACH
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", deployed)
    urls = [link(f"{number}.txt") for number in range(LINKS)]
    jobs = [
        (whole_text(), [(number, viewer_event(urls[number])) for _ in range(requests_each) for number in range(LINKS)])
        for _ in range(PROCESSES)
    ]
    said = Counter(tuple(line) for lines in processes.run_together(RUN, jobs) for line in lines)
    assert [said[number, "passed"] for number in range(LINKS)] == [1] * LINKS
    assert [said[number, "403"] for number in range(LINKS)] == [PROCESSES * requests_each - 1] * LINKS


@pytest.fixture
def fleet(deployed: str, tmp_path: pathlib.Path) -> Iterator[tuple[Installation, list[str]]]:
    """Two gateways over a table of their own, and where they answer."""
    made = Installation(tmp_path, tables={"ledger": {"url": f"dynamodb://both?region=us-east-1&endpoint={deployed}"}})
    made.put("a.txt", b"the object")
    configs = [made.write_config(f"gateway-{n}.toml", port=free_port()) for n in range(2)]
    with contextlib.ExitStack() as stack:
        yield made, [stack.enter_context(made.serve(config)).viewer_url for config in configs]


@pytest.mark.anyio
async def test_edge_and_gateways_over_one_table_give_one_use(
    fleet: tuple[Installation, list[str]], deployed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ticket at both doors, 40 requests at once: one of them has the object, or is passed on to it."""
    made, gateways = fleet
    world = EdgeWorld(deployed, monkeypatch, table="both")
    instances = [world.instance() for _ in range(5)]
    loop = asyncio.get_running_loop()
    with contextlib.closing(world), ThreadPoolExecutor(len(instances)) as pool:
        for _ in range(25):
            ticket, end_s = draw_ticket(Operation.GET), int(time.time()) + 600
            at_gateway = sign_url(f"{made.public_url}/a.txt?once={ticket}", key=made.signer, expires_s=end_s)
            at_edge = sign_url(f"https://{HOST}/a.txt?once={ticket}", key=made.signer, expires_s=end_s)

            def ask_twice(instance: ModuleType, url: str = at_edge) -> list[bool]:
                return [is_passed_on(instance.handler(viewer_event(url), None)) for _ in range(2)]

            asked = [loop.run_in_executor(pool, ask_twice, instance) for instance in instances]
            answers = await race(at_gateway, gateways, callers=30)
            passed = sum(sum(found) for found in await asyncio.gather(*asked))
            served = [body for status, body in answers if status == 200]
            assert passed + len(served) == 1
            assert {status for status, _ in answers} <= {200, 403}


def test_a_record_of_the_edge_is_read_by_every_other_program(real_world: EdgeWorld, deployed: str) -> None:
    """Given back and taken, spent: the same record as a gateway's, in the same place."""
    url = link("a.txt")
    passed = real_world.view(url)
    record = record_of(url, deployed)
    assert record is not None
    assert [claim.gateway for claim in record.claims] == ["@"]
    real_world.bucket(passed, 404)
    given_back = record_of(url, deployed)
    assert given_back is not None
    assert given_back.uses == 0
    assert is_passed_on(real_world.view(url))


def test_an_upload_goes_its_way_on_a_real_table(real_world: EdgeWorld, deployed: str) -> None:
    """Lease, 409, spent, 403."""
    url = link("in/a", put=True)
    put = {**PROGRAM, "content-length": "1"}
    passed = real_world.view(url, "PUT", put)
    assert real_world.view(url, "PUT", put)["status"] == "409"
    real_world.bucket(passed, 200)
    record = record_of(url, deployed)
    assert record is not None
    assert (record.uses, record.lease) == (1, None)
    assert real_world.view(url, "PUT", put)["status"] == "403"


@pytest.fixture
def behind_proxy(
    ministack: Any, deployed: str, fault_proxy: type, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[EdgeWorld, Any]]:
    """The function behind a network that can be broken."""
    assert deployed
    with fault_proxy(ministack.port) as proxy:
        world = EdgeWorld(f"http://127.0.0.1:{proxy.port}", monkeypatch)
        yield world, proxy
        world.close()


@pytest.mark.parametrize("fault", ["lose_replies", "refuse", "black_hole", "hold_requests"])
def test_a_broken_network_is_503_in_time_and_costs_no_use(
    behind_proxy: tuple[EdgeWorld, Any], until: Callable[..., object], fault: str
) -> None:
    """Nothing is passed on; when it is mended the instance's next request is, and the one after is refused."""
    world, proxy = behind_proxy
    url = link("a.txt")
    proxy.fault = fault
    began = time.monotonic()
    found = world.view(url)
    assert time.monotonic() - began < 4.0
    assert (found["status"], header(found, "retry-after")) == ("503", "2")
    proxy.release()
    proxy.cut()
    until(lambda: is_passed_on(world.view(url)), "the link opens", within_s=20)
    assert world.view(url)["status"] == "403"
    assert world.view(url, by=world.instance())["status"] == "403"


def test_a_write_that_lands_late_is_the_next_requests(
    behind_proxy: tuple[EdgeWorld, Any], deployed: str, until: Callable[..., object]
) -> None:
    """It was held for longer than the viewer waited: elsewhere the link is used, here it goes on once."""
    world, proxy = behind_proxy
    url = link("a.txt")
    proxy.fault = "hold_requests"
    assert world.view(url)["status"] == "503"
    proxy.release()
    until(lambda: record_of(url, deployed), "the held write lands", within_s=20)
    assert world.view(url, by=world.instance())["status"] == "403"
    assert is_passed_on(world.view(url))
    assert world.view(url)["status"] == "403"
