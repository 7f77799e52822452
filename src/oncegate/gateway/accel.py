"""The talk with a proxy that sends in the gateway's place: what is handed over, what the proxy is told, what it says.

The gateway answers with ``X-Accel-Redirect`` and no body; the proxy sends the object from its own folder, or fetches it
from the bucket by a URL that was presigned for it. Its log has one line for each such transfer. Pure: nothing here
looks at a clock or a socket.

Source: nginx, ngx_http_proxy_module (X-Accel-Redirect), ngx_http_syslog; Caddy, reverse_proxy (handle_response); which
headers each of them carries over is tested with both (docs/guides/let-the-proxy-send.md).
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, cast

from oncegate.links.request import ViewerRequest
from oncegate.links.urls import escape
from oncegate.web.answers import Header

TRANSFER = b"x-og-transfer"
"""The header that tells the proxy the id of a transfer, 32 hexadecimal digits."""
PIECE_BYTES = 64 * 1024
"""What a proxy may have sent and not counted when its viewer leaves: a piece is counted once all of it was taken. nginx
is taken to send up to 8 KiB of HTTP/2 and 16 KiB of TLS at once, Caddy 36 KiB of HTTP/2; neither was measured."""
LINE_MAX_BYTES = 16 * 1024
"""A longer datagram is no line of ours."""

_PLAIN_RANGE = re.compile(rb"bytes=[0-9]{1,18}-[0-9]{0,18}")
# all that a proxy keeps of the gateway's answer, or adds from it where it is set as the guide says
_CARRIED = frozenset(
    b"content-type content-disposition content-language content-encoding expires etag last-modified set-cookie "
    b"cache-control x-content-type-options referrer-policy content-security-policy server".split()
)
# of the answer that the proxy makes: it knows its own length and range
_PROXYS_OWN = frozenset((b"content-length", b"content-range", b"accept-ranges", b"x-accel-buffering"))
# answers in which no byte of the object can be; 408 and 499 are how proxies note a viewer who left
_WITHOUT_OBJECT = frozenset((400, 401, 403, 404, 405, 410, 412, 416)) | frozenset(range(500, 600))
_SYSLOG = re.compile(rb"(?:^|[ :])og ([0-9a-f]{32}) ([0-9]{3}) ([0-9]{1,18}) ([0-9]{1,18}|-)\s*\Z")
_ID_AND_LENGTH = re.compile(r"([0-9a-f]{32}) ([0-9]{0,18})")


def is_handed_over(
    request: ViewerRequest, headers: list[Header], span: tuple[int, int], *, is_part: bool, min_bytes: int
) -> bool:
    """Decide whether the proxy sends: only what it reads as the gateway does, and answers with the same headers.

    Args:
        request: a GET from a trusted proxy.
        headers: of the answer that the gateway would give, but for CORS.
        span: first byte and end (exclusive) of what is to be sent.
        is_part: the answer is 206.
        min_bytes: less is sent by the gateway.
    """
    if span[1] - span[0] < min_bytes:
        return False
    # a proxy knows nothing of our ETag: it would send the whole object to an If-Range, and 412 to an If-Match
    if any(name.startswith(b"if-") for name, _ in request.headers):
        return False
    ranges = [value for name, value in request.headers if name == b"range"]
    if bool(ranges) != is_part or len(ranges) > 1 or (ranges and not _PLAIN_RANGE.fullmatch(ranges[0])):
        return False
    # a player asks for all that follows, and seeks by another range before it closes the first, or with the first in its
    # kernel's buffers: the gateway takes over what runs and knows what was never read, and of a proxy it can do neither
    if ranges and any(name == b"content-type" and value.startswith((b"audio/", b"video/")) for name, value in headers):
        return False
    return all(name in _CARRIED or name in _PROXYS_OWN for name, _ in headers)


def head_for_proxy(headers: list[Header], transfer_id: str, redirect: str, more: list[Header]) -> list[Header]:
    """Write the head that tells the proxy to send.

    Args:
        headers: of the answer that the gateway would give.
        transfer_id: which the proxy's log line is to name.
        redirect: the internal location, percent-encoded.
        more: of a bucket: ``bucket_headers``.
    """
    return [
        *(header for header in headers if header[0] not in _PROXYS_OWN),
        (b"content-length", b"0"),
        (b"x-accel-redirect", redirect.encode()),
        (TRANSFER, transfer_id.encode()),
        *more,
    ]


def folder_headers(prefix: str, object_key: str) -> tuple[str, list[Header]]:
    """Return the internal location of an object in a folder, and its key as Caddy takes it: as it is."""
    return prefix + escape(object_key, safe="/"), [(b"x-og-key", object_key.encode())]


def bucket_headers(url: str, etag: str, span: tuple[int, int] | None) -> list[Header]:
    """What the proxy asks a bucket for: exactly the object that was looked at, and the range that was paid for.

    Args:
        url: presigned.
        etag: as the bucket has it, with quotes.
        span: first byte and end (exclusive); None: the whole.
    """
    return [
        (b"x-og-url", url.encode()),
        (b"x-og-if-match", etag.encode()),
        (b"x-og-range", b"" if span is None else b"bytes=%d-%d" % (span[0], span[1] - 1)),
    ]


class ProxyLine(NamedTuple):
    """What a proxy says of a transfer.

    Attributes:
        transfer_id: as it was told.
        status: of the answer that it gave the viewer.
        body_bytes: of that answer, handed to its kernel.
        length_bytes: of the body, as the head of that answer said; None: it did not.
    """

    transfer_id: str
    status: int
    body_bytes: int
    length_bytes: int | None


def read_line(datagram: bytes) -> ProxyLine | None:
    """Read a line of a proxy's log: nginx's ``og ID STATUS BYTES LENGTH`` in syslog, or Caddy's JSON; None: neither."""
    if len(datagram) > LINE_MAX_BYTES:
        return None
    if datagram.lstrip()[:1] == b"{":
        return _read_json(datagram)
    found = _SYSLOG.search(datagram)
    if found is None:
        return None
    length_bytes = None if found[4] == b"-" else int(found[4])
    return ProxyLine(found[1].decode(), int(found[2]), int(found[3]), length_bytes)


def _read_json(datagram: bytes) -> ProxyLine | None:
    try:
        value: object = json.loads(datagram)
    except (ValueError, RecursionError):
        return None
    members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    match members.get("user_id"), members.get("status"), members.get("size"):
        case str() as user_id, int() as status, int() as size if size >= 0:
            found = _ID_AND_LENGTH.fullmatch(user_id)
            return found and ProxyLine(found[1], status, size, int(found[2]) if found[2] else None)
        case _:
            return None


def sent_bytes(line: ProxyLine, promised_bytes: int) -> int | None:
    """Say how many of the promised bytes count as sent; None: the proxy answered without the object.

    What had another length than was promised counts whole: it was compressed against the guide, or is another file. That
    the proxy calls it complete says nothing: nginx does so too when the bucket breaks off.
    """
    if line.status in _WITHOUT_OBJECT:
        return None
    if line.body_bytes and line.length_bytes != promised_bytes:
        return promised_bytes
    return min(promised_bytes, line.body_bytes + PIECE_BYTES)
