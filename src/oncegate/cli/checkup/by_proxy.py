"""Whether the proxy in front really sends what the gateway hands over: an object of doctor's own is fetched through it.

The object is stored for a moment under a name that nobody can guess, fetched by links of its own, and removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oncegate.cli.checkup.findings import Finding, failed, warning
from oncegate.cli.wiring import open_keys, open_signer, open_store
from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    import httpx

    from oncegate.links.key_group import SigningKey
    from oncegate.stores.protocol import ObjectInfo

ANSWER_MAX_S = 8.0
PROBE_MAX_BYTES = 16 * 1024 * 1024
_NAME = "proxy"
_GUIDE = "set the proxy as docs/guides/let-the-proxy-send.md says"
_HEADERS = ("etag", "last-modified", "x-content-type-options", "referrer-policy", "content-security-policy")


async def look_at_proxy(settings: Settings) -> list[Finding]:
    """Fetch a probe through the first public URL: whole, in part, and with If-Range; nothing where nothing is handed over."""
    from oncegate.stores.protocol import ObjectStands, StoreFault

    if settings.delivery.mode != "accel" or not settings.keys.signing:
        return []
    size_bytes = settings.delivery.accel_min_bytes
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
                content_type="application/octet-stream", size_bytes=size_bytes, replaces=None,
            )  # fmt: skip
            await upload.write(data)
            info = await upload.commit()
    except (StoreFault, ObjectStands, TimeoutError) as fault:
        await store.aclose()
        return [warning(_NAME, f"not tried: no probe can be stored ({fault})", "look at the store first")]
    try:
        return [await asyncio.to_thread(_fetch, settings, key, info, data)]
    finally:
        with contextlib.suppress(StoreFault):
            await store.remove(info.key, info.etag)
        await store.aclose()


def _fetch(settings: Settings, key: SigningKey, info: ObjectInfo, data: bytes) -> Finding:
    import httpx

    asked: Sequence[tuple[dict[str, str], int, bytes]] = (
        ({}, 200, data),
        ({"range": "bytes=1-"}, 206, data[1:]),
        ({"range": "bytes=5-9", "if-range": info.etag}, 206, data[5:10]),
        ({"range": "bytes=5-9", "if-range": '"another"'}, 200, data),
    )
    url = settings.viewer.public_url[0]
    try:
        with httpx.Client(timeout=ANSWER_MAX_S, follow_redirects=False) as client:
            for headers, status, body in asked:
                sent = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": "oncegate-doctor", **headers}
                answer = client.get(_link(url, settings, key, info.key), headers=sent)
                if wrong := _wrong_with(answer, status, body, info):
                    what = f" to {', '.join(headers)}" if headers else ""
                    return failed(_NAME, f"{url} answers{what} {wrong}", _GUIDE)
    except httpx.TransportError as error:
        return warning(_NAME, f"not tried: {url} does not answer: {error}", "start 'oncegate serve' and the proxy")
    return Finding(name=_NAME, words=f"{url} sends objects with their bytes, ranges and headers")


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


def _link(url: str, settings: Settings, key: SigningKey, object_key: str) -> str:
    from oncegate.links.grant import Operation
    from oncegate.links.issue import Wish, make_link
    from oncegate.links.link_id import uuid7
    from oncegate.links.ticket import Ticket

    nonce = uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
    ticket = Ticket(operation=Operation.GET, uses=1, nonce=nonce, home=settings.links.home)
    now_s = int(time.time())
    wish = Wish(object_key=object_key, ticket=ticket, expires_s=now_s + 60)
    return make_link(wish, public_url=url, key=key, s3=None, now_s=now_s)
