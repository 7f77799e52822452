"""GET, HEAD and the page's POST: look, claim, transfer, settle (docs/request.md)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping

from oncegate.gateway.answers import is_played, not_modified, object_headers, with_charset
from oncegate.gateway.delivery import END_KNOWN_S, FirstByteFailed, deliver
from oncegate.gateway.ending import Ending, given_back
from oncegate.gateway.exchange import Exchange, in_step
from oncegate.gateway.handing_over import hand_over
from oncegate.gateway.pages import is_back_again, page_for_holder, player_page, ready_page
from oncegate.gateway.parts import Parts, fresh_claim_id, fresh_mark
from oncegate.gateway.ranges import has_strong_condition, plan_answer
from oncegate.gateway.records import record_of
from oncegate.gateway.removals import check_removable, claim_held, why_missing
from oncegate.ledgers.claiming import Decide, Talk
from oncegate.ledgers.protocol import forget_after
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links import people
from oncegate.links.address import holder_address
from oncegate.links.asking import check_button, page_first
from oncegate.links.cookies import cookies_of
from oncegate.links.grant import Grant
from oncegate.links.instants import instant_text
from oncegate.links.link_id import text_of_id
from oncegate.links.refusal import TABLE, Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.stores.protocol import ObjectInfo, OpenObject, StoreFault
from oncegate.uses.first import first_claim
from oncegate.uses.receipts import COMPLETE, HANDED_OVER
from oncegate.uses.record import Record, etag_mark
from oncegate.uses.use import Admission, DownloadAsk, Kind, admit_download, refusal_of_use
from oncegate.web.answers import Answer, button_answer

# another request of the same holder may take what was freed for this one; then 503
CUTS_MAX = 3


async def serve_download(parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant) -> None:
    """Answer a verified GET or HEAD.

    Raises:
        Refused: whatever ends it before the first byte.
        StoreFault: the same, by the store's doing.
    """
    parts.spent.check(request, grant)
    # look before claim: 404, 304, 412 and 416 then cost no write, and a crash here no use. All headers are built before
    # the claim too, so that nothing which could fail is left for a use that is taken
    opened = await _look(parts, grant)
    holding: asyncio.Task[None] | None = None
    try:
        await in_step()
        info = opened.info
        exchange.size_bytes = info.size_bytes
        plan = plan_answer(request, size_bytes=info.size_bytes, etag=info.etag, modified_s=info.modified_s)
        headers = await with_charset(object_headers(info, grant.limits, plan.span), opened)
        # never claims, for scanners and download managers send it first; but reads: 200 for a spent link would be a lie
        if request.method == "HEAD":
            await _refuse_if_spent(parts, request, grant, info)
            await exchange.answer(not_modified(info) if plan.status == 304 else Answer(200, headers))
            return
        if grant.is_counted and await _show_page(parts, exchange, request, grant, info):
            return
        is_person = grant.is_counted and people.is_navigation(request)
        is_film = is_person and is_played(headers)
        if is_person and not is_film and await _show_what_is_left(parts, exchange, request, grant, info):
            return
        if plan.status == 304:
            await exchange.answer(not_modified(info))
            return
        if is_film:
            await _show_player(parts, exchange, request, grant, info)
            return
        # nothing is claimed for a client whose connection has ended; if that is known only during the claim, nothing is
        # sent, and all of it is given back
        await in_step()  # in which the server can also hear that they have gone already
        await exchange.ask()
        if exchange.has_gone():
            exchange.outcome = "broken"
            return
        if grant.limits.delete_after:
            admission, holding = await claim_held(
                parts,
                grant,
                info,
                decide=_decider(parts, _ask(parts, request, grant, info, plan.span), info),
                refused=functools.partial(_refused_by, request),
                claim=functools.partial(_claim, parts, request, grant, info, plan.span),
            )
        else:
            admission = await _claim(parts, request, grant, info, plan.span)
        await exchange.ask()
        headers += _claim_cookie(parts, request, grant, admission)
        back = functools.partial(given_back, parts, grant, info, admission.claim_id)
        claim_id, span = admission.claim_id, plan.span or (0, info.size_bytes)
        # an object that goes with its link is held while this request runs; what the proxy sends goes on after it
        if (
            grant.limits.delete_after
            or parts.handed is None
            or not await hand_over(
                parts, exchange, request, grant, opened, plan=plan, claim_id=claim_id, headers=headers, give_back=back
            )
        ):
            await _transfer(
                parts, exchange, grant, opened, admission, span, holding, status=plan.status, headers=headers
            )
    finally:
        # where an answer has begun the object is held until its end is settled, which may be long after this request
        if holding is not None and not exchange.status:
            holding.cancel()
        await opened.aclose()


async def _look(parts: Parts, grant: Grant) -> OpenObject:
    """Look at the object.

    Raises:
        Refused: NO_OBJECT; NOT_IMPLEMENTED: it is to go with its link, and no object is removed here; USED, REVOKED: it
            has gone with its link.
        StoreFault: the store does not say.
    """
    if grant.limits.delete_after:
        check_removable(parts, grant)
    opened = await parts.store.look(grant.object_key)
    if opened is None:
        raise Refused(await why_missing(parts, grant))
    return opened


async def serve_button(exchange: Exchange, request: ViewerRequest, grant: Grant) -> None:
    """Answer the page's POST: nothing is written; a cookie says for a minute that a person pressed the button.

    Raises:
        Refused: CROSS_SITE; MALFORMED_REQUEST: it has a body.
    """
    check_button(request)
    await exchange.answer(button_answer(request, grant.link_id))


async def _show_page(parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant, info: ObjectInfo) -> bool:
    """Show the page with the button in place of the object, where nobody has pressed it yet. Spends nothing."""
    first = page_first(request, grant, parts.settings.viewer.confirm)
    if first is None:
        return False
    record = await _refuse_if_spent(parts, request, grant, info)
    if first.is_for_nobody:
        raise Refused(Reason.CONFIRM_NEEDED)
    exchange.outcome = "page"
    if first.ahead:
        parts.meters.preview(first.ahead)
        parts.journal.write(
            "preview",
            link_id=text_of_id(grant.link_id),
            key=grant.object_key,
            why=first.ahead,
            address=request.address,
            agent=people.agent_of(request),
        )
    await exchange.answer(ready_page(parts, request, grant, info, record, needs_cookies=first.needs_cookies))
    return True


async def _show_what_is_left(
    parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant, info: ObjectInfo
) -> bool:
    """Show what is left of a download to its holder, who goes to the link once more. Spends nothing."""
    if not is_back_again(request, grant):
        return False
    ask = _ask(parts, request, grant, info, None)
    answer = await page_for_holder(parts, exchange, request, grant, info, ask, _decider(parts, ask, info))
    if answer is None:
        return False
    exchange.outcome = "page"
    await exchange.answer(answer)
    return True


async def _show_player(
    parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant, info: ObjectInfo
) -> None:
    """Show a page that plays the object. Spends nothing.

    A browser that goes to a film itself asks for it twice: once for the address bar, which it throws away, and once
    for the player. Where the whole film fits into socket buffers, the first would be the use.
    """
    await _refuse_if_spent(parts, request, grant, info)
    exchange.outcome = "page"
    await exchange.answer(player_page(parts, request, grant, info))


async def _refuse_if_spent(parts: Parts, request: ViewerRequest, grant: Grant, info: ObjectInfo) -> Record | None:
    """Refuse HEAD and the page of a link that gives this viewer nothing any more; reads, never writes."""
    if not grant.is_counted:
        return None
    record = await record_of(parts, grant)
    reason = refusal_of_use(record, _ask(parts, request, grant, info, None), parts.now_s(), parts.rules)
    if reason is not None:
        raise Refused(reason)
    return record


async def _claim(
    parts: Parts, request: ViewerRequest, grant: Grant, info: ObjectInfo, span: tuple[int, int] | None
) -> Admission:
    """Win the bytes that are asked for: one atomic write, or none and a refusal.

    Raises:
        Refused: USED, REVOKED, OBJECT_REPLACED or PRECONDITION, BUSY, LEDGER_UNKNOWN, FORGOTTEN.
    """
    if not grant.is_counted:
        return Admission(kind=Kind.ADMIT)
    forget_after_s = forget_after(grant.expires_s)
    asked_bytes = info.size_bytes if span is None else span[1] - span[0]
    ask = _ask(parts, request, grant, info, span)
    decide, first = _decider(parts, ask, info), first_claim(ask, parts.now_s())

    def undo(admission: Admission) -> Talk[bool]:
        return given_back(parts, grant, info, admission.claim_id, asked_bytes)

    deadline = asyncio.get_running_loop().time() + WAIT_MAX_S
    admission = await parts.runner.claim(grant.link_id, forget_after_s, decide, undo=undo, first=first)
    if admission.kind is Kind.ADMIT:
        parts.meters.claim(admission.kind.value)
        return admission
    try:
        async with asyncio.timeout_at(deadline) if admission.kind is Kind.CUT else contextlib.nullcontext():
            for _ in range(CUTS_MAX):
                if admission.kind is not Kind.CUT:
                    break
                asked = span or (0, info.size_bytes)
                # taken first, then given back, then charged: a crash in between costs some of the use,
                # and never yields more
                claim_id = admission.claim_id
                taken = parts.transfers.take(claim_id, admission.cut_bytes, info.etag, asked)
                # what has left gives back itself, once its end is known
                if taken or not await parts.transfers.until_one_settles(claim_id, WAIT_MAX_S):
                    back = given_back(parts, grant, info, claim_id, taken, is_parallel=True)
                    # in the background: what was taken is given back, whoever leaves
                    await asyncio.wait({parts.runner.run_in_background(grant.link_id, back)})
                admission = await parts.runner.claim(grant.link_id, forget_after_s, decide, undo=undo)
        # an end that is not known yet usually is in a moment; a program that was told 503 might give up
        if admission.kind is Kind.BUSY and await parts.transfers.until_one_settles(admission.claim_id, END_KNOWN_S):
            admission = await parts.runner.claim(grant.link_id, forget_after_s, decide, undo=undo)
        if parts.handed is not None and admission.kind is Kind.BUSY:
            async with asyncio.timeout_at(deadline):
                while await parts.handed.until_one_ends(admission):
                    admission = await parts.runner.claim(grant.link_id, forget_after_s, decide, undo=undo)
    except TimeoutError:
        raise Refused(Reason.LEDGER_UNKNOWN) from None
    parts.meters.claim(admission.kind.value)
    if admission.kind is not Kind.ADMIT:
        raise _refused_by(request, admission)
    return admission


def _refused_by(request: ViewerRequest, admission: Admission) -> Refused:
    """The refusal that a decision means for a request."""
    reason = admission.reason or Reason.BUSY
    # who named his version is told that this one is another; who did not, that his download is over
    if reason is Reason.OBJECT_REPLACED and has_strong_condition(request):
        reason = Reason.PRECONDITION
    return Refused(reason, message=_to_continue(admission.rest_until_s))


def _decider(parts: Parts, ask: DownloadAsk, info: ObjectInfo) -> Decide:
    """The rule, asked beside a record and what runs of its claims."""

    def decide(record: Record | None) -> Admission:
        if record is None:
            return admit_download(None, ask, parts.now_s(), parts.rules)

        def beside(proxied: Mapping[str, int]) -> Admission:
            return admit_download(record, _beside(parts, ask, record, info, proxied), parts.now_s(), parts.rules)

        return beside({}) if parts.handed is None else parts.handed.decided(record, beside)

    return decide


def _to_continue(rest_until_s: int | None) -> str:
    """Tell the holder of a download that is not whole how to have its rest; the row's own message where there is none."""
    if rest_until_s is None:
        return ""
    return (
        f"{TABLE[Reason.USED].message} Part of the object was not sent: until {instant_text(rest_until_s)} the same "
        "client may ask for the rest (curl -C -, wget -c, aria2c -c --use-head=true)."
    )


def _ask(
    parts: Parts,
    request: ViewerRequest,
    grant: Grant,
    info: ObjectInfo,
    span: tuple[int, int] | None,
) -> DownloadAsk:
    """Put a request into the words of the rules, for a link of which nothing is recorded."""
    links = parts.settings.links
    cookie = address = None
    if links.resume_by != "never":
        shown = cookies_of(request).claim_shown(request, grant.link_id)
        cookie = None if shown is None else shown.decode("latin-1")
        proves = request.address_is_proof and links.resume_by == "cookie-or-address"
        # a browser keeps its cookie; by its address everybody behind the same router could resume in its place
        if proves and request.address is not None and not people.is_navigation(request):
            address = holder_address(request.address)
    return DownloadAsk(
        uses=grant.uses,
        size_bytes=info.size_bytes,
        etag=etag_mark(info.etag),
        span=span,
        cookie=cookie,
        address=address,
        gateway=parts.gateway,
        claim_id=fresh_claim_id(),
        mark="",
    )


def _beside(
    parts: Parts, ask: DownloadAsk, record: Record, info: ObjectInfo, proxied: Mapping[str, int]
) -> DownloadAsk:
    """The same beside a record: with a mark for its replacement, and what runs here, or at a proxy, of its claims."""
    span, transfers = ask.span or (0, info.size_bytes), parts.transfers
    claim_ids = [claim.claim_id for claim in record.claims]
    running = {each: transfers.takeable_bytes(each, info.etag, span) + proxied.get(each, 0) for each in claim_ids}
    unended = frozenset(each for each in claim_ids if transfers.is_unended(each))
    return ask._replace(mark=fresh_mark(), running=running, unended=unended)


async def _transfer(
    parts: Parts,
    exchange: Exchange,
    grant: Grant,
    opened: OpenObject,
    admission: Admission,
    span: tuple[int, int],
    holding: asyncio.Task[None] | None,
    *,
    status: int,
    headers: list[tuple[bytes, bytes]],
) -> None:
    """Send what was claimed; whatever breaks it, its end settles it."""
    transfer = parts.transfers.begin(admission.claim_id, opened.info.etag, span)
    transfer.on_end = None if holding is None else holding.cancel
    is_first = bool(admission.claim_id) and admission.mark == admission.claim_id
    ending = Ending(parts, exchange, grant, opened.info, transfer, is_first_claim=is_first)
    outcome = "broken"
    try:
        await in_step()
        if await deliver(
            parts.transfers,
            transfer,
            opened,
            span,
            status=status,
            headers=headers,
            exchange=exchange,
        ):
            outcome = COMPLETE
    except FirstByteFailed as error:
        outcome = "failed"
        raise error.__cause__ or error from None
    except StoreFault as error:
        parts.journal.write("fault", where="store", what=repr(error), request_id=exchange.request_id)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        # not cut: whoever runs this task ends it
        if not transfer.cut_why or task is None:
            raise
        task.uncancel()
        outcome = transfer.cut_why
    finally:
        exchange.sent_bytes = transfer.handed_bytes
        exchange.outcome = HANDED_OVER if outcome == COMPLETE else outcome
        ending.leave(outcome)


def _claim_cookie(
    parts: Parts, request: ViewerRequest, grant: Grant, admission: Admission
) -> list[tuple[bytes, bytes]]:
    """The holder's cookie: for a new claim, and again for who shows it; not for who is known by his address alone."""
    links, cookies = parts.settings.links, cookies_of(request)
    if not admission.claim_id or links.resume_by == "never":
        return []
    # a neighbour who is taken for the holder by his address must not get the secret that proves it from elsewhere
    is_new = admission.mark == admission.claim_id
    if not is_new and cookies.claim_shown(request, grant.link_id) != admission.claim_id.encode():
        return []
    return [cookies.header(cookies.claim(grant.link_id), admission.claim_id, links.resume_window_s)]
