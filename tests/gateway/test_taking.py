"""Promises of running transfers that another request of the same holder takes."""

from __future__ import annotations

import asyncio
import selectors
from types import SimpleNamespace
from typing import Any

import pytest

from oncegate.gateway import downloads
from oncegate.gateway.delivery import Transfer, Transfers
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links.grant import Grant, Operation, Scheme
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.meters import Meters
from oncegate.stores.protocol import ObjectInfo
from oncegate.uses.use import Admission, Kind


async def after_taking(
    spans: list[tuple[int, int]], wanted: int, span: tuple[int, int], *, has_left: int = 0
) -> tuple[int, list[int]]:
    """Let ``span`` take what it wants; return what was taken, and what each transfer of the claim still promises."""
    transfers = Transfers(asyncio.get_running_loop().time)
    begun = [await asyncio.create_task(_begin(transfers, each)) for each in spans]
    for transfer in begun[:has_left]:
        transfer.leave()
    return transfers.take("C", wanted, "e", span), [transfer.unsent_bytes for transfer in begun]


async def _begin(transfers: Transfers, span: tuple[int, int]) -> Transfer:
    """In a task that ends, so that cutting it harms nobody."""
    return transfers.begin("C", "e", span)


@pytest.mark.anyio
async def test_what_a_settlement_gives_back_is_not_taken_as_well() -> None:
    """Given back twice, the record would say that less was sent than was: more bytes, or a second holder, per use.

    The window is the time of one ledger write: the viewer leaves and asks for a Range before it is settled.
    """
    assert await after_taking([(0, 100)], 60, (40, 100), has_left=1) == (0, [100])
    assert await after_taking([(0, 100), (0, 100)], 60, (40, 100), has_left=1) == (60, [100, 40])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("spans", "wanted", "span", "outcome"),
    [
        ([(0, 100)], 60, (40, 100), (60, [40])),
        ([(0, 50), (50, 100)], 20, (60, 80), (20, [50, 30])),
        ([(0, 50), (50, 100)], 80, (60, 80), (50, [50, 0])),
        ([(0, 50)], 20, (60, 80), (20, [30])),
    ],
)
async def test_who_would_have_to_send_the_same_loses_its_end_first(
    spans: list[tuple[int, int]], wanted: int, span: tuple[int, int], outcome: tuple[int, list[int]]
) -> None:
    """A connection that sends another part is left alone while there is one that sends this part."""
    assert await after_taking(spans, wanted, span) == outcome


@pytest.mark.anyio
async def test_of_an_object_that_was_replaced_nothing_is_taken() -> None:
    """Settled by the new size, a smaller object would free a use that had sent half of the larger one."""
    transfers = Transfers(asyncio.get_running_loop().time)
    await asyncio.create_task(_begin(transfers, (0, 100)))
    assert transfers.takeable_bytes("C", "another", (0, 10)) == 0
    assert transfers.take("C", 10, "another", (0, 10)) == 0


class _Hurried(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer: what waits for seconds is over at once."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.now_s = 0.0
        really = self._selector.select  # type: ignore[attr-defined]

        def select(timeout: float | None = None) -> Any:
            self.now_s += timeout or 0.0
            return really(0)

        self._selector.select = select  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now_s


class _SlowRunner:
    """Answers each claim after four of the seconds that a viewer waits: take from what runs, and ask again."""

    async def claim(self, *_: object, **__: object) -> Admission:
        await asyncio.sleep(4)
        return Admission(kind=Kind.CUT, claim_id="C", cut_bytes=1)

    def run_in_background(self, link_id: bytes, talk: Any) -> asyncio.Task[None]:
        talk.close()
        return asyncio.create_task(asyncio.sleep(4))


def test_taking_over_ends_when_a_claim_would_have_to() -> None:
    """503 within five seconds, whatever it took until the rule said to take from a running transfer."""
    info = ObjectInfo(key="k", size_bytes=10, etag='"e"', modified_s=0, content_type="text/plain")
    grant = Grant(
        link_id=bytes(16), object_key="k", operation=Operation.GET, uses=1, is_counted=True, made_ms=0, scheme=Scheme.CANNED,
        key_id="K", expires_s=1,
    )  # fmt: skip
    request = ViewerRequest(method="GET", scheme="http", host="h", path=b"/k")
    with asyncio.Runner(loop_factory=_Hurried) as loop:

        async def live() -> float:
            parts: Any = SimpleNamespace(
                settings=SimpleNamespace(links=SimpleNamespace(resume_by="never")),
                runner=_SlowRunner(),
                transfers=Transfers(asyncio.get_running_loop().time),
                meters=Meters(),
                gateway="g",
                now_s=lambda: 0,
            )
            with pytest.raises(Refused) as refused:
                await downloads._claim(parts, request, grant, info, (0, 5))
            assert refused.value.reason is Reason.LEDGER_UNKNOWN
            return asyncio.get_running_loop().time()

        assert loop.run(live()) == pytest.approx(WAIT_MAX_S)
