"""One download to its end: ask, take what comes, and after a break ask for the rest, as the holder of the claim.

    HEAD                                                 200, ETag, a name           room is made for the file
    GET                                                  200, Set-Cookie, ETag       the first bytes
    GET  Range: bytes=N-  If-Range: ETag  Cookie         206                         the rest

HEAD opens no link, so what fails on this machine fails before a use is taken. Servers that answer it otherwise (S3 to a
link that is signed for GET) are asked by GET at once. Every answer is believed only as far as it fits what was known before: another size, another version or another range
ends it. Source: RFC 9110 13.1.5, 14.2, 15.3.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oncegate.cli.main import Refusal
from oncegate.cli.transfer.answers import BODY_MAX_BYTES, RETRIED, Patience, refusal_of
from oncegate.cli.transfer.checksums import expected_of
from oncegate.cli.transfer.client import read_body, request_of, words_of
from oncegate.cli.transfer.landing import Facts, Landing
from oncegate.cli.transfer.progress import Progress
from oncegate.links.urls import Url

if TYPE_CHECKING:
    import httpx

COOKIES_MAX = 20

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LENGTH = re.compile(r"\d{1,18}")

Land = Callable[["httpx.Response | None", Facts], Landing | None]


@dataclass(frozen=True, slots=True)
class _Again:
    """The object could not be had now, but perhaps later."""

    why: Refusal
    retry_after: str | None = None


class Download:
    """One download.

    Args:
        link: what is downloaded.
        landing: what an earlier run left; None: nothing.
        land: makes the landing, from the answer that tells what comes; before that from None, where it can already.
        patience: how often to try.
        progress: where to show how far it is.
    """

    def __init__(
        self, link: Url, *, landing: Landing | None, land: Land, patience: Patience, progress: Progress
    ) -> None:
        self._link = link
        self._land = land
        self._patience = patience
        self._progress = progress
        self.landing = landing
        self._is_open = landing is not None

    @property
    def is_open(self) -> bool:
        """Whether the server has begun to send: then a use may be taken."""
        return self._is_open

    def say_left(self) -> str:
        """What a failure or an interruption leaves, for whoever reads of it."""
        if not self._is_open:
            return "the link was not opened"
        if self.landing is None or not self.landing.name:
            return "the link was opened"
        return f"{self.landing.done_bytes} bytes came; the same command goes on from there"

    def run(self, client: httpx.Client) -> str:
        """Download, whatever breaks in between.

        Returns:
            What to print.

        Raises:
            Refusal: the server refuses, what came is wrong, or patience ended.
        """
        import httpx

        try:
            if self.landing is None:
                self._make_room(client)
            while True:
                if (
                    self._is_open
                    and self.landing is not None
                    and self.landing.done_bytes == self.landing.facts.size_bytes
                ):
                    return self.landing.finish()
                try:
                    again = self._attempt(client)
                except httpx.TransportError as error:
                    words = words_of(error, self._link)
                    again = _Again(Refusal(f"{words}: {self.say_left()}" if self._is_open else words))
                if again is None and self.landing is not None:
                    return self.landing.finish()
                if again is not None:
                    self._patience.wait(again.why, retry_after=again.retry_after)
        finally:
            if self.landing is not None:
                self.landing.close()
                if not self._is_open:
                    self.landing.discard()

    def _make_room(self, client: httpx.Client) -> None:
        """Ask what would come, and open the file for it."""
        import httpx

        try:
            response = client.send(request_of(client, "HEAD", self._link))
        # asked again by GET, and with patience
        except httpx.TransportError:
            response = None
        client.cookies.clear()
        if response is None or response.status_code != 200:
            self._set(self._land(None, Facts()))
            return
        self._patience.note_answer()
        self._set(self._land(response, _facts_of(response, {})))

    def _set(self, landing: Landing | None) -> None:
        self.landing = landing
        if landing is not None and landing.name:
            self._progress.name(landing.name)

    def _attempt(self, client: httpx.Client) -> _Again | None:
        """Ask once and take what comes; return None when the object is complete."""
        response = client.send(request_of(client, "GET", self._link, headers=self._headers()), stream=True)
        try:
            client.cookies.clear()  # cookies are kept in the facts, by us
            self._patience.note_answer()
            if response.status_code in RETRIED:
                why = refusal_of(response.status_code, read_body(response, BODY_MAX_BYTES))
                return _Again(why, response.headers.get("retry-after"))
            if response.status_code not in (200, 206):
                raise refusal_of(response.status_code, read_body(response, BODY_MAX_BYTES))
            self._is_open = True
            self._take(response, self._begin(response))
        finally:
            response.close()
        return None

    def _headers(self) -> dict[str, str]:
        if self.landing is None:
            return {}
        facts = self.landing.facts
        headers: dict[str, str] = {}
        if facts.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in facts.cookies.items())
        if self.landing.done_bytes and facts.etag:
            headers |= {"range": f"bytes={self.landing.done_bytes}-", "if-range": facts.etag}
        return headers

    def _begin(self, response: httpx.Response) -> Landing:
        """Check that the answer is what is missing, and return where its bytes go."""
        known = Facts() if self.landing is None else self.landing.facts
        cookies = dict(known.cookies) | _cookies_of(response)
        if response.status_code == 206:
            if self.landing is None or not self.landing.done_bytes:
                raise Refusal("the server sends a part of the object where the whole was asked for")
            self._check_part(response, self.landing)
            if cookies != known.cookies:
                self.landing.note(replace(known, cookies=cookies))
            return self.landing
        facts = _facts_of(response, cookies)
        if self.landing is None:
            self._set(self._land(response, facts))
        else:
            self.landing.restart(facts)
        if self.landing is None:
            raise AssertionError("an answer makes a landing")
        return self.landing

    def _check_part(self, response: httpx.Response, landing: Landing) -> None:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if found is None or int(found[1]) != landing.done_bytes:
            raise Refusal("the server sends another part of the object than was asked for")
        size_bytes = landing.facts.size_bytes
        if size_bytes is not None and found[3] != "*" and int(found[3]) != size_bytes:
            raise Refusal(f"the object was {size_bytes} bytes long and is {found[3]} now: it was replaced")
        if _strong_etag(response) not in ("", landing.facts.etag):
            raise Refusal("the object was replaced while it was being downloaded")

    def _take(self, response: httpx.Response, landing: Landing) -> None:
        for data in response.iter_raw():
            size_bytes = landing.facts.size_bytes
            if size_bytes is not None and landing.done_bytes + len(data) > size_bytes:
                raise Refusal(f"more than the {size_bytes} bytes that were announced came")
            landing.write(data)
            self._patience.note_progress()
            self._progress.show(landing.done_bytes, size_bytes)


def _facts_of(response: httpx.Response, cookies: Mapping[str, str]) -> Facts:
    return Facts(
        etag=_strong_etag(response),
        size_bytes=_length_of(response),
        digests=expected_of(response.headers, is_whole=True),
        cookies=cookies,
    )


def _cookies_of(response: httpx.Response) -> dict[str, str]:
    """Return the cookies of an answer. Attributes do not matter, because they are sent to this link alone."""
    cookies: dict[str, str] = {}
    for line in response.headers.get_list("set-cookie")[:COOKIES_MAX]:
        name, separator, value = line.partition(";")[0].strip().partition("=")
        if separator and name and (name + value).isprintable() and (name + value).isascii():
            cookies[name] = value
    return cookies


def _strong_etag(response: httpx.Response) -> str:
    """Return the ETag for If-Range; empty for a weak one, which proves nothing about the bytes."""
    etag: str = response.headers.get("etag", "")
    return etag if etag.startswith('"') and etag.isascii() and etag.isprintable() else ""


def _length_of(response: httpx.Response) -> int | None:
    length: str = response.headers.get("content-length", "")
    return int(length) if _LENGTH.fullmatch(length) else None
