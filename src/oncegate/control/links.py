"""The calls about links: make, list, show, revoke, explain."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query

from oncegate.control.access import CallerSeen, PartsSeen, scoped_router
from oncegate.control.bodies.explaining import Explained, ExplainOrder
from oncegate.control.bodies.forms import LINK_ID, PAGE_MAX
from oncegate.control.bodies.making import LinkMade, LinkOrder
from oncegate.control.bodies.standing import LinkPage, LinkShown
from oncegate.control.explaining import explain_link, home_of_url
from oncegate.control.finding import all_homes, find_link, home_at, revoke_everywhere
from oncegate.control.issuing import issue_link
from oncegate.control.parts import ControlParts
from oncegate.control.problems import ProblemAnswer, documented
from oncegate.control.recording import read_events_of_link
from oncegate.control.rehearsal import Installation
from oncegate.ledgers.homes import HomeLedger
from oncegate.ledgers.protocol import Ledger, Row, Scans
from oncegate.ledgers.removals import scan_links
from oncegate.links.instants import read_instant_s
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.uses.record import Record, from_json
from oncegate.uses.standing import UNREADABLE, members_of, standing_of

EVENTS_OF_A_LINK_MAX = 1_000
EVENTS_IN_A_LIST_MAX = 100

LinkId = Annotated[str, Path(pattern=LINK_ID, description="The `id` of a link.")]

reading: APIRouter = scoped_router("links:read", tag="links")
writing: APIRouter = scoped_router("links:write", tag="links")


@writing.post("/v1/links", status_code=201, responses=documented(422, 503))
async def make_link(
    parts: PartsSeen,
    caller: CallerSeen,
    body: LinkOrder,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,255}$",
            description="The same key and body make no second link, until a day after the link's end; "
            "the same key with another body is refused.",
        ),
    ] = None,
) -> LinkMade:
    """Make a link that opens once (or `uses` times), signed; the URL in the answer is the secret."""
    made = await issue_link(parts, body, caller=caller, idempotency_key=idempotency_key)
    return LinkMade.model_validate(made.members)


@reading.get("/v1/links", responses=documented(422, 501, 503))
async def list_links(
    parts: PartsSeen,
    after: Annotated[str | None, Query(pattern=LINK_ID, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> LinkPage:
    """List links that were made with a label, opened or revoked, page by page."""
    begin = b"" if after is None else id_of_text(after)
    rows: list[tuple[HomeLedger, Row]] = []
    for home in await all_homes(parts):
        if not isinstance(home.ledger, Scans):
            raise ProblemAnswer(501, "The ledger of this installation cannot list its records.")
        try:
            # One row more than is shown tells whether there is a next page. A page begins after an id, not at a number,
            # so a link that is made or forgotten meanwhile makes no other appear twice or vanish.
            rows += [(home, row) for row in await scan_links(home.ledger, begin, limit + 1)]
        except OSError:
            raise ProblemAnswer(503, "The ledger does not answer.") from None
    rows.sort(key=lambda pair: pair[1].link_id)
    shown: list[LinkShown] = []
    for home, row in rows[:limit]:
        record = _readable(row.record)
        shown.append(await _show(parts, home.ledger, row.link_id, record, EVENTS_IN_A_LIST_MAX))
    return LinkPage(links=shown, next=shown[-1].id if len(rows) > limit else None)


@reading.get("/v1/links/{id}", responses=documented(404, 422, 503))
async def show_link(parts: PartsSeen, id: LinkId) -> LinkShown:  # noqa: A002  the name in the path
    """Show what has become of a link. One that was signed elsewhere and never opened is not known: 404."""
    link_id = id_of_text(id)
    found = await find_link(parts, link_id)
    if not found:
        raise ProblemAnswer(404, "No record: the link was made without a label and never opened, or it was forgotten.")
    home, record = found[0]
    return await _show(parts, home.ledger, link_id, record, EVENTS_OF_A_LINK_MAX)


@writing.delete("/v1/links/{id}", operation_id="revoke_link", responses=documented(422, 503))
async def revoke(
    parts: PartsSeen,
    caller: CallerSeen,
    id: LinkId,  # noqa: A002  the name in the path
    expires_at: Annotated[
        str | None,
        Query(
            max_length=40,
            description="When a link that was signed elsewhere ends (RFC 3339), so that its revocation need not be "
            "kept for ever. One that tells too early lets the revocation be forgotten before the link ends.",
        ),
    ] = None,
) -> LinkShown:
    """Revoke a link, also one that was signed elsewhere: no gateway admits a new claim or range from then on."""
    link_id = id_of_text(id)
    expires_s = None if expires_at is None else _instant(expires_at)
    home, record = await revoke_everywhere(parts, link_id, expires_s=expires_s)
    parts.journal.write("revoked", link_id=id, token=caller.token.id)
    return await _show(parts, home.ledger, link_id, record, EVENTS_OF_A_LINK_MAX)


@reading.post("/v1/explain", operation_id="explain_link", responses=documented(422, 503))
async def explain(parts: PartsSeen, body: ExplainOrder) -> Explained:
    """Say, check by check, whether and why a link would be admitted now. Writes nothing."""
    now_s, settings, trust = parts.now_s() if body.at is None else body.at, parts.settings, parts.trust()
    try:
        name = home_of_url(body.url, trust, settings.viewer.public_url, now_s=now_s)
        home = await home_at(parts, name)
        where = Installation(
            trust=trust,
            public_urls=settings.viewer.public_url,
            runner=home.runner,
            born_ms=home.born_ms,
            accept_from_ms=None if name in parts.homes.names else settings.ledger.accept_from_ms,
            confirm=settings.viewer.confirm,
            store=parts.store,
            rules=parts.rules,
        )
        found = await explain_link(
            body.url, where, now_s=now_s, method=body.method, address=body.address, headers=body.headers
        )
    except ValueError:
        raise ProblemAnswer(422, "url is no absolute http or https URL.") from None
    return Explained.model_validate(found.members)


def _readable(text: bytes) -> Record | None:
    try:
        return from_json(text)
    except ValueError:
        return None


async def _show(
    parts: ControlParts, ledger: Ledger, link_id: bytes, record: Record | None, events_max: int
) -> LinkShown:
    """Show a record; None: it cannot be read."""
    name = text_of_id(link_id)
    if record is None:
        return LinkShown.model_validate(members_of(UNREADABLE, name))
    found = await read_events_of_link(ledger, link_id, events_max)
    standing = standing_of(
        record, now_s=parts.now_s(), events=found.newest, counts=found.counts, is_whole=found.is_whole
    )
    return LinkShown.model_validate(members_of(standing, name))


def _instant(text: str) -> int:
    try:
        return read_instant_s(text)
    except ValueError as error:
        raise ProblemAnswer(422, f"expires_at: {error}.") from None
