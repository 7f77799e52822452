"""The viewer's side: the whole story of a request is ``Gateway._serve``.

    parse -> verify -> look -> claim -> transfer -> settle

Only the order of a request is here. What a link allows is decided in links/, who may have how many bytes in uses/;
this file itself refuses overload, unknown methods and tickets older than the ledger. A fault of the store or the ledger
has a status of its own, any other exception is 500, and the viewer is told none of its details. What was claimed is
given back by whoever claimed it (downloads.py, uploads.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from oncegate.gateway.call import AsgiCall, Call, Receive, Send, head_of
from oncegate.gateway.downloads import serve_button, serve_download
from oncegate.gateway.exchange import Exchange, in_step
from oncegate.gateway.forms import as_upload, is_form
from oncegate.gateway.open_requests import OpenRequests
from oncegate.gateway.pages import asked_language, refusal_page
from oncegate.gateway.parts import Parts
from oncegate.gateway.upload_pages import serve_form, serve_upload_page
from oncegate.gateway.uploads import serve_upload
from oncegate.gateway.viewer import Viewers
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.links.asking import verify_as_opened
from oncegate.links.canned import commonest_grant
from oncegate.links.grant import Grant, Operation
from oncegate.links.link_id import text_of_id
from oncegate.links.people import agent_of
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.verify import verify
from oncegate.server.peers import Peer
from oncegate.server.pieces import Head
from oncegate.server.turn import Turn
from oncegate.stores.protocol import KeyRefused, LengthNeeded, NotOnce, StoreBusy, StoreFault, StoreFull, UploadTooLarge
from oncegate.uses.receipts import HANDED_OVER
from oncegate.uses.record import RecordUnreadable
from oncegate.uses.use import is_too_old
from oncegate.web.answers import preflight, refusal_answer, style_of

NO_TRANSFER = frozenset(("page", HANDED_OVER))
"""Outcomes of requests that tell no end of a transfer: there was none, or it tells its end itself, once that is known."""
METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "OPTIONS"))

_REASONS: Mapping[type[StoreFault], Reason] = {
    StoreBusy: Reason.STORE_BUSY,
    StoreFull: Reason.STORE_FULL,
    NotOnce: Reason.NOT_ONCE,
    LengthNeeded: Reason.LENGTH_NEEDED,
    UploadTooLarge: Reason.TOO_LARGE,
}
"""What a viewer is told of a fault of the store; of any other, that the store failed. ``KeyRefused`` is no fault."""


class Gateway:
    """Serves links."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._viewers = Viewers(parts.settings.viewer)
        self._cors_origins = parts.settings.viewer.cors_origins
        self._numbers = itertools.count(1)
        self._open = OpenRequests()
        self._accept_from_ms = parts.settings.ledger.accept_from_ms

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request of another server (ASGI 3)."""
        if scope["type"] == "http":
            call = AsgiCall(scope, receive, send)
            try:
                await self._answer(call, str(scope["method"]), lambda: head_of(scope))
            finally:
                call.close()

    async def answer(self, turn: Turn) -> None:
        """Answer one request of our own server."""
        head = turn.head
        await self._answer(turn, head.method, lambda: head)

    async def _answer(self, call: Call, method: str, read_head: Callable[[], Head]) -> None:
        parts = self._parts
        exchange = Exchange(
            call,
            request_id=f"{parts.gateway}-{next(self._numbers):x}",
            monotonic=parts.monotonic,
            cors_origins=self._cors_origins,
            open_requests=self._open,
        )
        self._open.begin()
        try:
            await self._serve(read_head(), call.peer, exchange)
        except Refused as refused:
            await self._refuse(exchange, refused)
        except StoreFault as fault:
            await self._refuse(exchange, self._refusal_of_fault(exchange, fault))
        except RecordUnreadable as error:
            self._note_fault(exchange, "ledger", error)
            await self._refuse(exchange, Refused(Reason.LEDGER_UNKNOWN))
        except Exception as error:  # noqa: BLE001  the one place: whatever it is, the viewer learns nothing of it
            self._note_fault(exchange, "gateway", error)
            await self._refuse(exchange, Refused(Reason.INTERNAL))
        finally:
            self._open.end()
            self._note_request(method, exchange)

    async def _serve(self, head: Head, peer: Peer, exchange: Exchange) -> None:
        """One request from its first byte to its last."""
        exchange.unread_body = head.method in ("PUT", "POST")
        request = exchange.request = self._viewers.request_of(head, peer)
        exchange.is_from_proxy = self._viewers.is_from_proxy(peer)
        # once the head is read, so that this answer too has its style and its line in the log
        if self._open.are_too_many:
            raise Refused(Reason.OVERLOADED)
        if request.method not in METHODS:
            raise Refused(Reason.NOT_A_LINK)
        # asked by a browser before an upload from another origin; answered whatever is signed (docs/decisions/0003)
        if request.method == "OPTIONS":
            await exchange.answer(preflight(request, self._cors_origins))
            return
        if request.method == "POST" and (answer := await asked_language(exchange, request)) is not None:
            await exchange.answer(answer)
            return
        grant = exchange.grant = self._verify(request)
        await in_step()
        parts = await self._at_home(grant)
        if request.method == "POST" and is_form(request):
            await serve_form(parts, exchange, request, grant, self._verify_exactly)
        elif request.method == "POST":
            await serve_button(exchange, request, grant)
        elif request.method == "PUT":
            await serve_upload(parts, exchange, request, grant)
        elif grant.operation is Operation.PUT:
            await serve_upload_page(parts, exchange, request, grant)
        else:
            await serve_download(parts, exchange, request, grant)

    def _verify(self, request: ViewerRequest) -> Grant:
        """Return what the link allows.

        A form's POST, or a person's GET of a link to a folder, is verified as the PUT that it stands for; every other
        request by ``verify_as_opened``.
        """
        may_be_upload = request.method == "POST" or request.path.endswith(b"/")
        put = as_upload(request) if may_be_upload else None
        if put is None:
            return verify_as_opened(request, self._verify_exactly)
        grant = self._verify_exactly(put)
        if put.path != request.path and not grant.is_any_key:
            raise Refused(Reason.OBJECT_KEY)
        return grant

    def _verify_exactly(self, request: ViewerRequest) -> Grant:
        trust, now_s = self._parts.trust(), self._parts.now_s()
        grant = commonest_grant(request, trust, now_s=now_s)
        return verify(request, trust, now_s=now_s) if grant is None else grant

    async def _at_home(self, grant: Grant) -> Parts:
        """Return the parts with the ledger that counts the link.

        Raises:
            Refused: LEDGER_UNKNOWN: its ledger does not answer; BEFORE_BIRTH: the ticket is older than its ledger.
        """
        parts, accept_from_ms = self._parts, self._accept_from_ms
        if grant.home in parts.homes.names:
            try:
                home = await parts.homes.at(grant.home)
            except (LedgerUnfit, OSError) as fault:
                parts.journal.write("fault", where="ledger", what=f"home {grant.home}: {type(fault).__name__}")
                raise Refused(Reason.LEDGER_UNKNOWN) from None
            # accept_from speaks of the own ledger alone; that of another home is judged by its birth
            parts, accept_from_ms = replace(parts, runner=home.runner, born_ms=home.born_ms), None
        # a ledger that lost its memory would open used tickets again: those that are older than it are refused
        if grant.is_counted and is_too_old(grant.made_ms, born_ms=parts.born_ms, accept_from_ms=accept_from_ms):
            raise Refused(Reason.BEFORE_BIRTH)
        return parts

    async def _refuse(self, exchange: Exchange, refused: Refused) -> None:
        exchange.reason = refused.reason.value
        if exchange.status:
            return  # the answer has begun: returning cuts the connection
        style = style_of(exchange.grant, exchange.request)
        page = await refusal_page(self._parts, exchange, refused)
        answer = refusal_answer(refused, exchange.request, style=style, request_id=exchange.request_id, page=page)
        await exchange.answer(answer)

    def _refusal_of_fault(self, exchange: Exchange, fault: StoreFault) -> Refused:
        if isinstance(fault, KeyRefused):
            return Refused(Reason.NO_OBJECT)
        self._note_fault(exchange, "store", fault)
        return Refused(
            next((reason for kind, reason in _REASONS.items() if isinstance(fault, kind)), Reason.STORE_FAILED)
        )

    def _note_fault(self, exchange: Exchange, where: str, error: Exception) -> None:
        """Log what went wrong and where in our code, without the values at hand: they may hold a URL."""
        trace, at = error.__traceback__, ""
        while trace is not None:
            at = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
            trace = trace.tb_next
        # a store writes its texts for the log; any other may quote what a viewer sent
        what = str(error) if isinstance(error, StoreFault) else ""
        self._parts.journal.write(
            "fault", where=where, what=f"{type(error).__name__} at {at} {what}".strip(), request_id=exchange.request_id
        )

    def _note_request(self, method: str, exchange: Exchange) -> None:
        """One line per request, one count, and what the issuer of the link may want to know."""
        parts, request, grant = self._parts, exchange.request, exchange.grant
        address = None if request is None else request.address
        link = None if grant is None else text_of_id(grant.link_id)
        key = None if grant is None else grant.object_key
        took_s, first_byte_at = parts.monotonic() - exchange.started_at, exchange.first_byte_at
        parts.meters.request(
            method if method in METHODS else "other",
            exchange.status,
            received_bytes=exchange.received_bytes,
            sent_bytes=exchange.sent_bytes,
            seconds=took_s,
            first_byte_seconds=None if first_byte_at is None else first_byte_at - exchange.started_at,
        )
        parts.journal.write(
            "request",
            method=method,
            status=exchange.status,
            reason=exchange.reason,
            outcome=exchange.outcome,
            link_id=link,
            key=key,
            bytes=exchange.received_bytes or exchange.sent_bytes,
            ms=int(took_s * 1000),
            address=address,
            request_id=exchange.request_id,
        )
        # a form without a script does what PUT does
        method = "PUT" if method == "POST" and exchange.received_bytes else method
        if grant is None or request is None or method not in ("GET", "PUT") or exchange.outcome in NO_TRANSFER:
            return
        agent = agent_of(request)
        # a PUT that was refused before its body began is told below, as "refused"
        if method == "PUT" and (exchange.status == 200 or exchange.received_bytes):
            parts.journal.write(
                "upload", link_id=link, key=key, outcome=exchange.outcome, bytes=exchange.received_bytes, address=address,
                agent=agent, reason=exchange.reason,
            )  # fmt: skip
        elif exchange.reason is not None:
            parts.journal.write("refused", link_id=link, key=key, reason=exchange.reason, address=address, agent=agent)
