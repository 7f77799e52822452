"""The calls that watch: is it alive, is it ready, what does it count, what happened."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from oncegate.control.access import PartsSeen, scoped_router
from oncegate.control.bodies.forms import LINK_ID, PAGE_MAX
from oncegate.control.bodies.observing import EventPage, EventShown, Health, PartShown, Readiness
from oncegate.control.metrics import MEDIA_TYPE, metrics_text
from oncegate.control.problems import ProblemAnswer, documented
from oncegate.control.recording import read_events
from oncegate.ledgers.protocol import Event, KeepsEvents
from oncegate.links.instants import instant_text

READY_MAX_S = 5.0
_NUMBER_MAX = 2**63 - 1

probing: APIRouter = APIRouter(tags=["observing"])
metering: APIRouter = scoped_router("metrics:read", tag="observing")
reading: APIRouter = scoped_router("events:read", tag="observing")


@probing.get("/healthz", responses=documented())
async def tell_health() -> Health:
    """Answer while the process can; needs no token."""
    return Health(status="ok")


@probing.get("/readyz", responses=documented(503))
async def tell_readiness(parts: PartsSeen) -> Readiness:
    """Say whether every part can do its work, and which cannot; needs no token."""
    try:
        async with asyncio.timeout(READY_MAX_S):
            states = await parts.readiness()
    except TimeoutError:
        raise ProblemAnswer(503, "Not ready: not every part answered in time.") from None
    shown = [PartShown(name=state.name, ready=state.is_ready, words=state.words) for state in states]
    silent = [part.name for part in shown if not part.ready]
    if silent:
        members = {"ready": False, "parts": [part.model_dump() for part in shown]}
        raise ProblemAnswer(503, f"Not ready: {', '.join(silent)}.", members=members)
    return Readiness(ready=True, parts=shown)


probing.add_api_route("/healthz", tell_health, methods=["HEAD"], include_in_schema=False)
probing.add_api_route("/readyz", tell_readiness, methods=["HEAD"], include_in_schema=False)


@metering.get("/metrics", response_class=PlainTextResponse, responses=documented())
async def tell_metrics(parts: PartsSeen) -> Response:
    """Give every metric in Prometheus' text format."""
    return Response(metrics_text(parts), media_type=MEDIA_TYPE)


@reading.get("/v1/events", responses=documented(422, 501, 503))
async def list_events(
    parts: PartsSeen,
    after: Annotated[int, Query(ge=0, le=_NUMBER_MAX, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    link: Annotated[str | None, Query(pattern=LINK_ID, description="Only events of this link.")] = None,
) -> EventPage:
    """List what happened, oldest first, page by page. Events are kept for a while, and a crash may lose the last."""
    if not isinstance(parts.ledger, KeepsEvents):
        raise ProblemAnswer(
            501, "The ledger of this installation keeps no events: each gateway writes them to its log."
        )
    found = await read_events(parts.ledger, after, limit + 1, link_id=link)
    shown = [_shown(number, event) for number, event in found[:limit]]
    return EventPage(events=shown, next=shown[-1].number if len(found) > limit else None)


def _shown(number: int, event: Event) -> EventShown:
    at_s = event.get("at")
    members = {name: value for name, value in event.items() if name not in ("at", "event", "number")}
    return EventShown(
        number=number,
        at=instant_text(at_s if isinstance(at_s, int) else 0),
        event=str(event.get("event", "unknown")),
        **members,  # pyright: ignore[reportArgumentType] - members that the model allows beside its own
    )
