"""What a refusal costs beside a download of 1 KiB, the worst requests of a stranger, and what floods do to a good viewer.

Of the spent links each is asked for once more; "one spent link" is asked for over and over.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import time
from collections.abc import Callable, Sequence
from statistics import quantiles

import uvloop

from benchmarks.figures import Sample, Series, WrongAnswers, in_turns, tried
from benchmarks.load import by_python, measured
from benchmarks.plan import Chart, Outcome, Plan, Table
from benchmarks.processes import cpu_us
from benchmarks.servers import Links, Server
from oncegate.testing.installation import Installation, free_port

CONNECTIONS, FLOODING = 64, 4
HEAD_BYTES, TARGET_BYTES = 32_000, 16_300
SETTLE_S = 0.15
KEY = "a.bin"
Request = tuple[str, str]
"""Target, and further headers without their last CR LF."""


def worst(target: str) -> dict[str, Request]:
    """Return requests of a stranger that cost most, each as large as it is let in.

    Args:
        target: of a genuine link that was used, for what is read only after the signature.
    """
    statement = {
        "Resource": "http://127.0.0.1/*" + "a" * 4_800 + "b",
        "Condition": {"DateLessThan": {"AWS:EpochTime": 9**9}},
    }
    encoded = base64.b64encode(json.dumps({"Statement": [statement]}).encode()).decode()
    signed = f"Policy={encoded.translate(str.maketrans('+=/', '-_~'))}&Signature=AA__&Key-Pair-Id=K1"
    brackets = base64.b64encode(b"[" * 8_000).decode()
    ends = "?Expires=9999999999&Signature=AA__&Key-Pair-Id=K1"
    return {
        "policy with wildcards": ("/" + "a" * (TARGET_BYTES - len(signed) - 2) + "?" + signed, ""),
        "policy of brackets": (f"/a?Policy={brackets}&Signature=AA__&Key-Pair-Id=K1", ""),
        "path of escapes": ("/" + "%41" * (TARGET_BYTES // 3) + ends, ""),
        "200 parameters": ("/a?" + "&".join(["%41" * 26] * 199), ""),
        "cookies": ("/a", "Cookie: CloudFront-a=b;" + ";a" * 8_000),
        "host of labels": ("/a", "Host: " + "a." * 15_000),
        "etags, of a used link": (target, 'If-None-Match: "a"' + " " * (HEAD_BYTES - 1_000) + "x"),
        "range, of a used link": (target, "Range: bytes=" + " " * (HEAD_BYTES - 1_000) + "x"),
        "agent, of a used link": (target, "User-Agent: " + "slackbo " * ((HEAD_BYTES - 1_000) // 8)),
        "headers": ("/a", "\r\n".join("a:" for _ in range(7_000))),
    }


async def ask(port: int, targets: Sequence[str], headers: str = "", *, connections: int) -> set[int]:
    """GET every target once, whatever is answered; return the statuses that came, 0 for a connection that was closed."""
    waiting, statuses = list(targets), set[int]()
    host = "" if headers.startswith("Host:") else "Host: 127.0.0.1\r\n"
    end = f"{headers}\r\n\r\n" if headers else "\r\n"

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            head = b""
            writer.write(f"GET {waiting.pop()} HTTP/1.1\r\n{host}{end}".encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"))
                statuses.add(int(head.split()[1]))
            except (asyncio.IncompleteReadError, ConnectionError):
                statuses.add(0)
            if not head or b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return statuses


async def p99_ms(port: int, targets: Sequence[str], flood: Sequence[Request]) -> float:
    """Return how long the slowest of a hundred downloads of one good viewer takes, beside a flood of the worst requests."""

    async def keep_asking(first: int) -> None:
        for target, headers in itertools.islice(itertools.cycle(flood), first, None):
            await ask(port, [target] * 10, headers, connections=1)

    flooding = [asyncio.create_task(keep_asking(first)) for first in range(FLOODING if flood else 0)]
    waits: list[float] = []
    for target in targets:
        begun = time.perf_counter()
        statuses = await ask(port, [target], connections=1)
        if statuses != {200}:
            raise WrongAnswers(f"port {port}: {statuses}")
        waits.append(time.perf_counter() - begun)
    for task in flooding:
        task.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)
    return quantiles(waits, n=100)[98] * 1e3


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    made = Installation(plan.folder, key="rsa", tables={"viewer": {"connections_per_address": 0}})
    made.put(KEY, os.urandom(1024))
    port = free_port()
    with made.serve() as first, made.serve(made.write_config("second.toml", port=port)) as second:
        here = Server("first", made.port, lambda: [first.process.pid])
        there = Server("second", port, lambda: [second.process.pid])
        refusals(plan, Links(made), here, there, outcome)
        strangers(plan, Links(made), here, outcome)
        floods(plan, Links(made), here, outcome)
    return outcome


def refusals(plan: Plan, links: Links, here: Server, there: Server, outcome: Outcome) -> None:
    """Measure the CPU of each kind of refusal, a download of the same round = 1."""
    plan.say("refuse: links that are not served")
    count = plan.pick(3_000, 1_500, 200)

    def turn(server: Server, targets: Sequence[str], status: int) -> Sample:
        before_us = cpu_us(server.pids())
        load = by_python(server.port, targets, connections=CONNECTIONS, status=status)
        time.sleep(SETTLE_S)
        return measured(load, before_us, server.pids())

    names = ("served", "spent, known here", "one spent link", "spent, known elsewhere", "forged", "unsigned")

    def one_round(_: int) -> Sequence[Sample]:
        # in this order: what is spent must have been served before, which is why these do not change places
        fresh = links.targets(KEY, count)
        forged = [target.replace("Expires=1", "Expires=2", 1) for target in fresh]
        return (
            turn(here, fresh, 200),
            turn(here, fresh, 403),
            turn(here, fresh[-1:] * count, 403),
            turn(there, fresh, 403),
            turn(here, forged, 403),
            turn(here, [f"/{KEY}"] * count, 403),
        )

    _, *rounds = [tried("refusals", one_round, number) for number in range(plan.pick(4, 3, 1) + 1)]
    samples = {name: [turns[place] for turns in rounds] for place, name in enumerate(names)}
    series = Series(samples)
    outcome.raw["refusals"] = samples
    table = Table("Refusing a link", ("Answer", "CPU us", "served = 1", "p99 ms"))
    for name in names:
        table.add(name, series.of(name, "cpu_us"), series.ratio(name, "served", "cpu_us"), series.of(name, "p99_ms"))
    outcome.tables.append(table)
    outcome.charts.append(
        Chart("refuse", "Server CPU of an answer", "us", tuple((name, series.of(name, "cpu_us")) for name in names))
    )
    for row, name in (("spent here", names[1]), ("spent elsewhere", names[3]), ("forged", names[4])):
        outcome.measured[row] = series.ratio(name, "served", "cpu_us")


def strangers(plan: Plan, links: Links, here: Server, outcome: Outcome) -> None:
    """Measure the CPU of each of the worst requests."""
    plan.say("refuse: the worst requests of a stranger")
    count = plan.pick(200, 80, 20)
    (spent,) = links.targets(KEY, 1)
    uvloop.run(ask(here.port, [spent], connections=1))
    statuses: dict[str, set[int]] = {}

    def way(name: str, request: Request) -> Callable[[int], Sample]:
        def turn(_: int) -> Sample:
            before_us = cpu_us(here.pids())
            statuses[name] = uvloop.run(ask(here.port, [request[0]] * count, request[1], connections=8))
            return {"cpu_ms": (cpu_us(here.pids()) - before_us) / count / 1e3}

        return turn

    series = in_turns({name: way(name, request) for name, request in worst(spent).items()}, plan.pick(3, 2, 1))
    outcome.raw["strangers"] = series.samples
    table = Table("The worst requests of a stranger", ("Request", "CPU ms", "Status"))
    for name in series.samples:
        table.add(name, series.of(name, "cpu_ms"), ", ".join(map(str, sorted(statuses[name]))))
    outcome.tables.append(table)
    outcome.measured["worst"] = max(series.of(name, "cpu_ms") for name in series.samples)


def floods(plan: Plan, links: Links, here: Server, outcome: Outcome) -> None:
    """Measure a good viewer alone and beside a flood."""
    plan.say("refuse: a good viewer beside a flood")
    count = plan.pick(300, 150, 100)
    (spent,) = links.targets(KEY, 1)
    uvloop.run(ask(here.port, [spent], connections=1))
    kinds: dict[str, list[Request]] = {
        "alone": [],
        "beside the worst requests": [*worst(spent).values()],
        "beside a spent link": [(spent, "")],
        "beside a forged link": [(spent.replace("Expires=1", "Expires=2", 1), "")],
        "beside unsigned requests": [(f"/{KEY}", "")],
    }

    def way(requests: Sequence[Request]) -> Callable[[int], Sample]:
        return lambda _: {"p99_ms": uvloop.run(p99_ms(here.port, links.targets(KEY, count), requests))}

    series = in_turns({name: way(requests) for name, requests in kinds.items()}, plan.pick(3, 2, 1))
    outcome.raw["floods"] = series.samples
    table = Table(f"A good viewer beside {FLOODING} connections of a stranger", ("", "p99 ms", "alone = 1"))
    for name in series.samples:
        table.add(name, series.of(name, "p99_ms"), series.ratio(name, "alone", "p99_ms"))
    outcome.tables.append(table)
    bars = tuple((name, series.of(name, "p99_ms")) for name in series.samples)
    outcome.charts.append(Chart("flood", "The slowest in a hundred downloads of a good viewer", "ms", bars))
