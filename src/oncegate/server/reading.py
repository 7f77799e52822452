"""From bytes to requests of HTTP/1.1: no socket, no clock, nothing that waits.

The grammar is llhttp's, the parser of Node.js, in its strict form (dependency ``httptools``: it saves us a parser, and
its parser in C costs a tenth of one in Python). Whoever reads a request otherwise than the proxy in front of them can be
made to see two requests where the proxy saw one; therefore what llhttp takes and RFC 9112 does not is refused here:
transfer codings besides ``chunked``, chunked bodies in HTTP/1.0, versions besides 1.0 and 1.1, a body beside an
upgrade, targets with a fragment. llhttp has no limits; they are here.

A reader parses no further than it was asked: what comes behind a request stays unparsed until the next is asked for.
"""

from __future__ import annotations

import re
from collections import deque

import httptools

from oncegate.server.limits import HEAD_MAX_BYTES, HEADERS_MAX, TARGET_MAX_BYTES
from oncegate.server.pieces import END, BadRequest, Event, Head

_EMPTY_LINE = b"\r\n\r\n"
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
# RFC 3986 has none of them in a URL; llhttp takes them
_NOT_IN_TARGET = re.compile(rb'[#<>"`]')


class RequestReader:
    """Reads the requests of one connection, one after another."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._data: bytes = b""
        self._at = 0
        self._refusal = 0
        self._is_over = False
        self._begin_head()
        self._renew()

    def _renew(self) -> None:
        """Take a new parser, for the head of a request."""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._expect_head()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head = b""
        self._tail = b""

    @property
    def held_bytes(self) -> int:
        """How many bytes were received and not yet parsed."""
        return len(self._data) - self._at

    @property
    def has_begun(self) -> bool:
        """Whether a part of a next head has been received."""
        return bool(self._head or self._events) or self.held_bytes > 0

    def add(self, data: bytes) -> None:
        """Take what was received."""
        if self._is_over:
            return
        self._data, self._at = (self._data[self._at :] + data if self.held_bytes else data), 0

    def next(self) -> Event | None:
        """Return the next event, or None where more must be received first.

        Raises:
            BadRequest: what was received is refused; so is everything behind it.
        """
        while not self._events and not self._refusal and not self._is_over and self._at < len(self._data):
            self._parse_some()
        if self._events:
            return self._events.popleft()
        if self._refusal:
            raise BadRequest(self._refusal)
        return None

    def close(self) -> None:
        """Let go of the parser, which holds this reader; nothing can be read any more."""
        self._parser, self._is_over, self._data, self._at = None, True, b"", 0

    def _parse_some(self) -> None:
        """Hand to the parser what holds no byte behind the end of a head or of a request."""
        end = self._end_of_piece()
        piece = self._data if (self._at, end) == (0, len(self._data)) else memoryview(self._data)[self._at : end]
        self._at = end
        if self._in_head:
            self._head = self._head + piece if self._head else bytes(piece)
            if len(self._head) > HEAD_MAX_BYTES:
                self._feed(piece[: HEAD_MAX_BYTES - len(self._head)])
                self._refuse(414 if len(self._url) > TARGET_MAX_BYTES else 431)
                return
        if not self._left_bytes:
            # kept before it is parsed: with the end of a request it begins anew
            self._loose_bytes += len(piece)
            self._tail = bytes(piece[-3:]) if len(piece) > 2 else (self._tail + bytes(piece))[-3:]
        self._feed(piece)
        if not self._in_head and self._loose_bytes > HEAD_MAX_BYTES:
            self._refuse(400)

    def _end_of_piece(self) -> int:
        """How far the data may be handed to the parser: heads and chunked bodies both end with an empty line."""
        size = len(self._data)
        if self._left_bytes:
            return min(size, self._at + self._left_bytes)
        if self._tail:
            # which may lie across two receptions
            seam = (self._tail + self._data[self._at : self._at + 3]).find(_EMPTY_LINE)
            if seam >= 0:
                return self._at + seam + len(_EMPTY_LINE) - len(self._tail)
        found = self._data.find(_EMPTY_LINE, self._at)
        return size if found < 0 else found + len(_EMPTY_LINE)

    def _feed(self, piece: bytes | memoryview) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # an offer to upgrade is not taken up (RFC 9110 7.8); what follows is the next request
            self._renew()
        except httptools.HttpParserError:
            self._refuse(400)

    def _refuse(self, status: int) -> None:
        """Refuse what was parsed last and all behind it; the first reason stays."""
        self._refusal = self._refusal or status

    def _stop(self, status: int) -> None:
        """Refuse out of the parser's callbacks, and end its work."""
        self._refuse(status)
        raise BadRequest(status)

    def _begin_head(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._has_body = False
        self._left_bytes = 0
        self._loose_bytes = 0

    # what the parser calls

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """A part of the target came."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line came, or a trailer, which nobody here has a use for."""
        if not self._in_head:
            return
        if len(self._headers) == HEADERS_MAX:
            self._stop(431)
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        parser = self._parser
        if parser is None or self._is_over:
            return
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(505)
        method = parser.get_method().decode("latin-1")
        line = b"%b %b HTTP/" % (parser.get_method(), self._url)
        if not self._head.startswith(line) and not self._head.startswith(line, _end_of_empty_lines(self._head)):
            # llhttp takes several spaces in the first line, and a bare CR or LF in front of it (RFC 9112 2.2, 3)
            self._stop(400)
        if method == "CONNECT":
            self._stop(405)
        self._has_body, expects = self._framing(version)
        if self._has_body and parser.should_upgrade():
            # llhttp would not read the body, and give it out as the next protocol
            self._stop(400)
        path, query = self._target(method)
        keeps = parser.should_keep_alive()
        self._events.append(Head(method, path, query, version, self._headers, keeps, self._has_body, expects))
        self._keeps = keeps
        self._in_head = False

    def on_body(self, data: bytes) -> None:
        """A piece of the body came."""
        self._loose_bytes = 0
        if self._left_bytes:
            self._left_bytes -= len(data)
        self._events.append(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._is_over:
            return
        if self._has_body:
            self._events.append(END)
        self._expect_head()
        self._is_over = not self._keeps

    def _framing(self, version: str) -> tuple[bool, bool]:
        """Whether a body follows, and whether it is waited for; llhttp has refused two lengths, and both framings."""
        codings, expects, length = 0, False, 0
        for name, value in self._headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked":
                    self._stop(501)
            elif name == b"expect":
                expects = value.lower() == b"100-continue" and version == "1.1"
        if codings > 1 or (codings and version == "1.0"):
            self._stop(400)
        self._left_bytes = length
        has_body = bool(codings or length)
        return has_body, expects and has_body

    def _target(self, method: str) -> tuple[bytes, bytes]:
        """The path and the query that were asked for (RFC 9112 3.2)."""
        url = self._url
        if not url.startswith(b"/"):
            absolute = _ABSOLUTE.match(url)
            if absolute is not None:
                url = url[absolute.end() :]
                url = url if url.startswith(b"/") else b"/" + url
            elif url != b"*" or method != "OPTIONS":
                self._stop(400)
        if _NOT_IN_TARGET.search(url) is not None:
            self._stop(400)
        path, _, query = url.partition(b"?")
        return path, query


def _end_of_empty_lines(head: bytes) -> int:
    """Where a head begins behind the empty lines that a server ignores (RFC 9112 2.2)."""
    at = 0
    while head.startswith(b"\r\n", at):
        at += 2
    return at
