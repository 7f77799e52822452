"""An upload by a form of a browser without a script: ``multipart/form-data`` with one file, streamed.

The head of its one part becomes the head of a PUT, its data the body of it, and ``uploads.py`` does the rest: the same
lease, the same conditional step. The boundary is looked for in the stream; nothing is held but its length.

Source: RFC 7578; RFC 2046 5.1.1 for boundaries.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.message import Message

from oncegate.links.people import is_navigation, is_of_another_site
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import escape
from oncegate.links.verify import ANY_NAME
from oncegate.web.names import is_hidden

PART_HEAD_MAX_BYTES = 8 * 1024
NAME_MAX_BYTES = 240
"""Of a name that a file is stored under: file systems take 255."""
_BOUNDARY = re.compile(rb"multipart/form-data\s*;\s*boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?", re.IGNORECASE)
_KEPT = frozenset((b"host", b"cookie", b"user-agent", b"accept", b"accept-language", b"accept-encoding", b"expect"))
_END = b"--\r\n"


def is_form(request: ViewerRequest) -> bool:
    """Whether a request is the POST of a form with a file."""
    kind = (request.header(b"content-type") or b"").lower()
    return request.method == "POST" and kind.startswith(b"multipart/form-data")


def as_upload(request: ViewerRequest) -> ViewerRequest | None:
    """The PUT that a form, or a person who opens a link to many keys, is verified as; None for any other request.

    Such a link is handed out with a path that ends in a slash. No object is called so: any name beneath stands for it.

    Raises:
        Refused: CROSS_SITE: the form was sent from a page of another site.
    """
    is_folder = request.path.endswith(b"/") and request.path != b"/"
    if not is_form(request) and not (is_folder and request.method == "GET" and is_navigation(request)):
        return None
    if is_form(request) and is_of_another_site(request):
        raise Refused(Reason.CROSS_SITE)
    return replace(request.as_method("PUT"), path=request.path + ANY_NAME if is_folder else request.path)


def safe_name(name: str, number: int = 1) -> str:
    """A name that every store keeps, made of the one that a reader's file has; numbered from 2 on.

    ``static/upload.js`` makes the same.
    """
    plain = "".join("_" if is_hidden(character) or character in "/\\*?" else character for character in name)
    plain = plain.strip(". ")
    while len(plain.encode("utf-8", "replace")) > NAME_MAX_BYTES:
        plain = plain[1:]
    plain = plain.strip(". ") or "file"
    if number < 2:
        return plain
    stem, dot, ending = plain.rpartition(".")
    return f"{stem} ({number}).{ending}" if dot and stem else f"{plain} ({number})"


class Form:
    """The one file of a form.

    Attributes:
        name: of the file, as its reader's computer calls it.
    """

    def __init__(self, request: ViewerRequest, read: Callable[[], Awaitable[bytes | None]], *, stall_s: float) -> None:
        """Read the boundary.

        Raises:
            Refused: MALFORMED_UPLOAD: there is none.
        """
        found = _BOUNDARY.match(request.header(b"content-type") or b"")
        if found is None:
            raise Refused(Reason.MALFORMED_UPLOAD)
        self._request = request
        self._read_body = read
        self._stall_s = stall_s
        self._delimiter = b"\r\n--" + found[1]
        self._held = b"\r\n"
        self._is_over = self._has_ended = False
        self.name: str = ""

    async def open(self) -> ViewerRequest:
        """Read the head of the part, and return the PUT that the form stands for, of its path.

        Raises:
            Refused: MALFORMED_UPLOAD: it is no form with a file; INCOMPLETE.
        """
        while b"\r\n\r\n" not in self._held[2:]:
            if len(self._held) > PART_HEAD_MAX_BYTES or not await self._read():
                raise Refused(Reason.MALFORMED_UPLOAD)
        # the empty line of the part's head, behind the line break that stands for the one before the first boundary
        end = self._held.index(b"\r\n\r\n", 2) + 4
        head, self._held = self._held[:end], self._held[end:]
        first, _, lines = head[2:].partition(b"\r\n")
        if first != self._delimiter[2:]:
            raise Refused(Reason.MALFORMED_UPLOAD)
        part = Message()
        for line in lines.decode("utf-8", "replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                part[name.strip()] = value.strip()
        self.name = part.get_filename() or ""
        if not self.name:
            raise Refused(Reason.MALFORMED_UPLOAD)
        headers = [(name, value) for name, value in self._request.headers if name in _KEPT]
        headers.append((b"content-type", str(part.get("content-type", "")).encode("latin-1", "replace")))
        length = self._request.header(b"content-length")
        if length is not None and length.isdigit():
            size = int(length) - (end - 2) - len(self._delimiter) - len(_END)
            headers.append((b"content-length", b"%d" % max(0, size)))
        else:
            headers.append((b"transfer-encoding", b"chunked"))  # the form says where the file ends
        # a part that begins with its end is an empty file: its line break was that of the head
        return replace(self._request.as_method("PUT"), headers=tuple(headers))

    def at(self, request: ViewerRequest, name: str) -> ViewerRequest:
        """The same PUT of a name beneath the path of a link to many keys."""
        return replace(request, path=self._request.path + escape(name).encode())

    async def read(self) -> bytes | None:
        """The file's bytes, as the body of a PUT; see ``Call.read``."""
        while not self._has_ended:
            found = self._held.find(self._delimiter)
            if found >= 0:
                data, rest = self._held[:found], self._held[found + len(self._delimiter) :]
                await self._until_end(rest)
                self._has_ended = True
                return data
            if len(self._held) > len(self._delimiter):
                data, self._held = self._held[: -len(self._delimiter)], self._held[-len(self._delimiter) :]
                return data
            if not await self._read():
                return None
        return b""

    async def _until_end(self, rest: bytes) -> None:
        """Nothing may follow the file: a second one would be lost without a word.

        Raises:
            Refused: MALFORMED_UPLOAD.
        """
        self._held = rest
        while len(self._held) <= len(_END) and await self._read():
            pass
        if self._held != _END:
            raise Refused(Reason.MALFORMED_UPLOAD)

    async def _read(self) -> bool:
        if self._is_over:
            return False
        try:
            async with asyncio.timeout(self._stall_s):
                data = await self._read_body()
        except TimeoutError:
            raise Refused(Reason.INCOMPLETE) from None
        self._held += data or b""
        self._is_over = not data
        return not self._is_over
