"""An HTTP API's event for an ASGI application, and its answer: the payload format 2.0 of API Gateway.

Of our own, because what exists (Mangum) writes the traceback of a fault and the path of each request to the log, finds
out by the event's shape what sent it, and has no place for the authorizer; what is left of the work is this file.

Source: API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs"; ASGI 3, HTTP.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from oncegate.control.admission import AUTHORIZER

Application = Callable[..., Awaitable[None]]
VERSION = "2.0"


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether an event is a request that came through an HTTP API."""
    return event.get("version") == VERSION and isinstance(event.get("requestContext"), Mapping)


async def answer(app: Application, event: Mapping[str, Any]) -> dict[str, object]:
    """Let an application answer a request.

    Args:
        app: ASGI 3.
        event: of payload format 2.0.

    Returns:
        The answer in the same format; a body that is no UTF-8 is encoded in base64.
    """
    talk = _Talk(_body_of(event))
    await app(_scope_of(event), talk.receive, talk.send)
    return talk.answer()


def _scope_of(event: Mapping[str, Any]) -> dict[str, Any]:
    context: Mapping[str, Any] = event["requestContext"]
    http: Mapping[str, Any] = context["http"]
    path = str(event.get("rawPath") or "/")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": str(http["method"]),
        "scheme": "https",
        "path": path,
        # as it comes: no path of this API has an escape, so it does not matter whether API Gateway decodes them
        "raw_path": quote(path, safe="/%:@!$&'()*+,;=~").encode(),
        "root_path": "",
        "query_string": str(event.get("rawQueryString") or "").encode("latin-1", "replace"),
        "headers": _headers_of(event),
        "client": (str(http.get("sourceIp") or ""), 0),
        "server": (str(context.get("domainName") or ""), 443),
        AUTHORIZER: context.get("authorizer"),
    }


def _headers_of(event: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    given: Mapping[str, Any] = event.get("headers") or {}
    return [(name.lower().encode("latin-1", "replace"), str(value).encode()) for name, value in given.items()]


def _body_of(event: Mapping[str, Any]) -> bytes:
    text = str(event.get("body") or "")
    return base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()


class _Talk:
    """One request's body and what the application sends, which is kept until it is whole."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._headers: dict[str, str] = {}
        self._sent = bytearray()

    async def receive(self) -> dict[str, Any]:
        """Hand over the body; after it, say that the caller has left, which nobody here could know."""
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Keep a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            for name, value in message.get("headers", ()):
                self._add(name.decode("latin-1").lower(), value.decode("latin-1"))
        elif message["type"] == "http.response.body":
            self._sent += message.get("body", b"")

    def answer(self) -> dict[str, object]:
        """What was sent, as API Gateway takes it."""
        try:
            body, is_base64 = self._sent.decode(), False
        except UnicodeDecodeError:
            body, is_base64 = base64.b64encode(self._sent).decode(), True
        return {"statusCode": self._status, "headers": self._headers, "body": body, "isBase64Encoded": is_base64}

    def _add(self, name: str, value: str) -> None:
        # the format has one value of a name; a list of RFC 9110 may be written on one line
        self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value
