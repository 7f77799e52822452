"""Whether the proxy in front really sends what the gateway hands over: an object of doctor's own is fetched through it.

The object is stored for a moment under a name that nobody can guess, fetched by links of its own, and removed. Then the
ledger's events must tell what became of these links, as ``oncegate status`` would: that is the proxy's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oncegate.cli.checkup.findings import Finding, failed, warning
from oncegate.cli.wiring import open_keys, open_signer, open_store
from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    import httpx

    from oncegate.links.key_group import SigningKey
    from oncegate.stores.protocol import ObjectInfo

ANSWER_MAX_S = 8.0
TOLD_WITHIN_S = 5.0
"""From the end of a transfer until its event can be read: the proxy's line, and a batch of events."""
PROBE_MAX_BYTES = 16 * 1024 * 1024
_NAME = "proxy"
_GUIDE = "set the proxy as docs/guides/let-the-proxy-send.md says"
_HEADERS = ("etag", "last-modified", "x-content-type-options", "referrer-policy", "content-security-policy")


class Asked(NamedTuple):
    """One request for the probe.

    Attributes:
        headers: of the request.
        status: that the answer must have.
        body: that it must have.
        is_handed_over: the proxy is to send it.
    """

    headers: Mapping[str, str]
    status: int
    body: bytes
    is_handed_over: bool = False


async def look_at_proxy(settings: Settings) -> list[Finding]:
    """Fetch a probe through the first public URL: whole, in part, and with If-Range; nothing where nothing is handed over.

    What was sent is compared with what the gateway would send, and with what the ledger's events say of it.
    """
    from oncegate.stores.protocol import ObjectStands, StoreFault

    if settings.delivery.mode != "accel" or not settings.keys.signing:
        return []
    size_bytes = settings.delivery.accel_min_bytes + 10  # so that a part of it is handed over too
    if size_bytes > PROBE_MAX_BYTES:
        return [warning(_NAME, "not tried: [delivery] accel_min is more than 16 MiB", "")]
    data = secrets.token_bytes(size_bytes)
    try:
        key, store = open_signer(settings, open_keys(settings)), open_store(settings)
    except Unfit:
        return []  # another finding tells of it
    try:
        async with asyncio.timeout(ANSWER_MAX_S):
            upload = await store.start_upload(
                f"oncegate-doctor-{secrets.token_hex(16)}.bin",
                content_type="text/html",  # what proxies compress first, where they are told to
                size_bytes=size_bytes, replaces=None,
            )  # fmt: skip
            await upload.write(data)
            info = await upload.commit()
    except (StoreFault, ObjectStands, TimeoutError) as fault:
        await store.aclose()
        return [warning(_NAME, f"not tried: no probe can be stored ({fault})", "look at the store first")]
    try:
        found, sent = await asyncio.to_thread(_fetch, settings, key, info, data)
    finally:
        with contextlib.suppress(StoreFault):
            await store.remove(info.key, info.etag)
        await store.aclose()
    return [found or await _told(settings, sent)]


def _fetch(
    settings: Settings, key: SigningKey, info: ObjectInfo, data: bytes
) -> tuple[Finding | None, Mapping[bytes, int]]:
    """Return what is wrong with the answers, and by link how many bytes the proxy is to have sent."""
    import httpx

    asked: Sequence[Asked] = (
        Asked({}, 200, data, is_handed_over=True),
        Asked({"range": "bytes=1-"}, 206, data[1:], is_handed_over=True),
        Asked({"range": "bytes=5-9", "if-range": info.etag}, 206, data[5:10]),
        Asked({"range": "bytes=5-9", "if-range": '"another"'}, 200, data),
    )
    url, sent = settings.viewer.public_url[0], dict[bytes, int]()
    try:
        with httpx.Client(timeout=ANSWER_MAX_S, follow_redirects=False) as client:
            for headers, status, body, is_handed_over in asked:
                more = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": "oncegate-doctor", **headers}
                link, link_id = _link(url, settings, key, info.key)
                answer = client.get(link, headers=more)
                if wrong := _wrong_with(answer, status, body, info):
                    what = f" to {', '.join(headers)}" if headers else ""
                    return failed(_NAME, f"{url} answers{what} {wrong}", _GUIDE), {}
                if is_handed_over:
                    sent[link_id] = len(body)
    except httpx.TransportError as error:
        words = f"not tried: {url} does not answer: {error}"
        return warning(_NAME, words, "start 'oncegate serve' and the proxy"), {}
    return None, sent


async def _told(settings: Settings, sent: Mapping[bytes, int]) -> Finding:
    """Compare what the ledger's events say of the links with what was sent.

    Args:
        settings: of the configuration.
        sent: bytes, by link.
    """
    from oncegate.ledgers.protocol import KeepsEvents
    from oncegate.links.link_id import text_of_id
    from oncegate.service.home_ledgers import open_home_ledger

    well = f"{settings.viewer.public_url[0]} sends objects with their bytes, ranges and headers"
    ledger = open_home_ledger(settings)
    try:
        if not isinstance(ledger, KeepsEvents):
            return Finding(name=_NAME, words=well)
        await ledger.probe()
        deadline_s = time.monotonic() + TOLD_WITHIN_S
        for link_id, sent_bytes in sent.items():
            while not (events := (await ledger.events_of_link(text_of_id(link_id), 10)).newest):
                if time.monotonic() > deadline_s:
                    break
                await asyncio.sleep(0.1)
            if found := _wrong_with_events(events, sent_bytes):
                return found
    except (Unfit, OSError):
        return Finding(name=_NAME, words=well)  # another finding tells of the ledger
    finally:
        await ledger.aclose()
    return Finding(name=_NAME, words=f"{well}, and its log tells what was sent")


def _wrong_with_events(events: Sequence[Mapping[str, object]], sent_bytes: int) -> Finding | None:
    """Say what the events of a link tell otherwise than it was: one transfer, by the proxy, complete."""
    from oncegate.uses.receipts import COMPLETE, RECEIPTS, receipt_of

    ends = [event for event in events if event["event"] in RECEIPTS]
    if not ends:
        words = f"its log does not tell within {TOLD_WITHIN_S:.0f} s what was sent: what breaks off stays spent"
        return failed(_NAME, words, "lead its log to [delivery] accel_log, from an address of trusted_proxies")
    if ends[0].get("by") != "proxy":
        return warning(_NAME, "the gateway sends all by itself", "name the proxy's address in trusted_proxies")
    end = receipt_of(ends[0])
    if end.outcome == COMPLETE and end.moved_bytes == sent_bytes:
        return None
    return failed(_NAME, f"its log tells {end.outcome}, {end.moved_bytes} bytes, where {sent_bytes} were sent", _GUIDE)


def _wrong_with(answer: httpx.Response, status: int, body: bytes, info: ObjectInfo) -> str:
    """Say what differs from the gateway's own answer; empty: nothing."""
    if answer.status_code != status:
        return f"with {answer.status_code} in place of {status}"
    if answer.content != body:
        return f"with {len(answer.content)} bytes that are not the {len(body)} of the object"
    if "content-encoding" in answer.headers:
        return "compressed: what it counts is not the object"
    if leaked := [name for name in answer.headers if name.startswith(("x-og-", "x-accel-redirect"))]:
        return f"with {leaked[0]}, which is not for viewers"
    if missing := [name for name in _HEADERS if name not in answer.headers]:
        return f"without {missing[0]}"
    return "" if answer.headers["etag"] == info.etag else "with an ETag of its own"


def _link(url: str, settings: Settings, key: SigningKey, object_key: str) -> tuple[str, bytes]:
    """Make a link that opens once, and return it and its id."""
    from oncegate.links.grant import Operation
    from oncegate.links.issue import Wish, make_link
    from oncegate.links.link_id import uuid7
    from oncegate.links.ticket import Ticket

    nonce = uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
    ticket = Ticket(operation=Operation.GET, uses=1, nonce=nonce, home=settings.links.home)
    now_s = int(time.time())
    wish = Wish(object_key=object_key, ticket=ticket, expires_s=now_s + 60)
    return make_link(wish, public_url=url, key=key, s3=None, now_s=now_s), nonce
