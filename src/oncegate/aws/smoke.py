"""What a real deployment is asked after it was made: the numbers are those of docs/aws/SMOKE.md.

Each check makes links of its own over objects of its own, and asks as viewers do. What it finds is said in one line; a
link, a signature or a key is in none.

Source: docs/aws-protocol.md 1.7 for the codes; docs/promises.md, "At the edge", for the rest.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from oncegate.aws.reply import Reply

AT_ONCE = 8
PERSON: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
PREVIEW: Mapping[str, str] = {"User-Agent": "WhatsApp/2.24.1", "Accept": "*/*"}
_SAME_SITE: Mapping[str, str] = {"Sec-Fetch-Site": "same-origin"}


class Visits(Protocol):
    """Makes a request, as a viewer's program does."""

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Make it; nothing of the URL is written anew, and no redirect is followed."""
        ...


class Calls(Protocol):
    """Calls the API."""

    def __call__(self, method: str, target: str, *, is_signed: bool) -> Reply:
        """Call it, without a body."""
        ...


class Links(Protocol):
    """Signs links, as the deployment's configuration does."""

    def download(self, key: str, *, asks: bool = False) -> str:
        """The URL of a download; ``asks``: a person is asked before it is spent."""
        ...

    def upload(self, key: str) -> str:
        """The URL of an upload."""
        ...


class Wrong(Exception):
    """A check found something else than what it looked for."""


class Outcome(NamedTuple):
    """What a check found.

    Attributes:
        number: of docs/aws/SMOKE.md.
        claim: what must hold.
        words: what was found, where it does not.
        is_well: whether it holds; None: it could not be tried here.
    """

    number: int
    claim: str
    words: str
    is_well: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the checks are made with.

    Attributes:
        visit: asks the distribution.
        links: signs.
        lay: puts an object into the bucket, by the operator's rights.
        uploads: where upload links may create; empty: nowhere.
        bucket_url: of the bucket by itself; empty: it cannot be asked here.
        api: asks the API, signed or not; None: there is none, or it is not asked by IAM.
        keys: of the objects that were made, to be removed.
    """

    visit: Visits
    links: Links
    lay: Callable[[str, bytes], None]
    uploads: str = ""
    bucket_url: str = ""
    api: Calls | None = None
    keys: list[str] = field(default_factory=list[str])

    def key(self) -> str:
        """A fresh one, below the prefix of uploads."""
        self.keys.append(f"{self.uploads}oncegate-smoke-{secrets.token_hex(8)}")
        return self.keys[-1]

    def laid(self) -> tuple[str, bytes]:
        """An object, and what is in it."""
        key, content = self.key(), secrets.token_bytes(64)
        self.lay(key, content)
        return key, content

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Open a link."""
        return self.visit("GET", url, headers or {"User-Agent": "oncegate-smoke"})


class CannotBeTried(Exception):
    """The deployment, or this place, does not have what a check is about."""


def run(trial: Trial) -> Iterator[Outcome]:
    """Make every check, one after the other; a check that fails does not end the others."""
    for number, (claim, check) in enumerate(CHECKS, start=1):
        try:
            check(trial)
        except Wrong as wrong:
            yield Outcome(number, claim, str(wrong), is_well=False)
        except CannotBeTried as reason:
            yield Outcome(number, claim, str(reason), is_well=None)
        except OSError as error:
            yield Outcome(number, claim, f"no answer: {type(error).__name__}", is_well=False)
        else:
            yield Outcome(number, claim, "", is_well=True)


def _expect(answer: Reply, status: int, what: str, *, body: bytes | None = None, code: str = "") -> None:
    if answer.status != status or (code and answer.code != code):
        raise Wrong(f"{what}: {answer.status} {answer.code}, not {status} {code}".strip())
    if body is not None and answer.body != body:
        raise Wrong(f"{what}: {len(answer.body)} bytes that are not the object")


def _opens_once(trial: Trial, url: str, content: bytes, after: str) -> None:
    """That the link opens now, and was not spent by what was done before."""
    _expect(trial.get(url), 200, f"opened after {after}", body=content)
    _expect(trial.get(url), 403, "the second time")


def _uploads(trial: Trial) -> None:
    if not trial.uploads:
        raise CannotBeTried("the deployment takes no uploads")
    key, content = trial.key(), secrets.token_bytes(64)
    put = {"Content-Type": "application/octet-stream"}
    url = trial.links.upload(key)
    _expect(trial.visit("PUT", url, put, content), 200, "the upload")
    _expect(trial.visit("PUT", url, put, b"other"), 403, "the same link again")
    _expect(trial.visit("PUT", trial.links.upload(key), put, b"other"), 412, "another link to the same key")
    _expect(trial.get(trial.links.download(key)), 200, "what is stored", body=content)


def _opens(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key)
    _expect(trial.get(url), 200, "the first time", body=content)
    again = trial.get(url)
    _expect(again, 403, "the second time")
    if b"This link has been used" not in again.body:
        raise Wrong("the second time: 403 in other words than oncegate's")


def _looks(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key)
    _expect(trial.visit("HEAD", url, {"User-Agent": "oncegate-smoke"}), 200, "HEAD")
    preflight = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    if trial.visit("OPTIONS", url, preflight).status >= 500:
        raise Wrong("OPTIONS: an error of the server")
    _opens_once(trial, url, content, "HEAD and OPTIONS")


def _asks(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key, asks=True)
    for who, headers in (("a person", PERSON), ("a preview", PREVIEW)):
        if trial.get(url, headers).body == content:
            raise Wrong(f"{who} got the object without being asked")
    pressed = trial.visit("POST", url, {**PERSON, **_SAME_SITE}, b"")
    _expect(pressed, 303, "the button")
    cookie = pressed.headers.get("set-cookie", "").partition(";")[0]
    _expect(trial.get(url, {**PERSON, "Cookie": cookie}), 200, "after the button", body=content)
    _expect(trial.get(url, {**PERSON, "Cookie": cookie}), 403, "the second time")


def _ranges(trial: Trial) -> None:
    key, content = trial.laid()
    tag = trial.visit("HEAD", trial.links.download(key), {}).headers.get("etag", '"x"')
    _expect(trial.get(trial.links.download(key), {"Range": "bytes=0-1"}), 200, "with Range", body=content)
    _expect(trial.get(trial.links.download(key), {"If-None-Match": tag}), 200, "with If-None-Match", body=content)


def _forged_claim(trial: Trial) -> None:
    url = trial.links.download(trial.key())
    claim = {"x-oncegate-claim": "AAAAAAAAAAAAAAAAAAAAAA"}
    _expect(trial.get(url, claim), 404, "a missing object, with a viewer's claim")
    key, content = trial.laid()
    _expect(trial.get(used := trial.links.download(key), claim), 200, "with a viewer's claim", body=content)
    _expect(trial.get(used, claim), 403, "the second time, with a viewer's claim")


def _missing(trial: Trial) -> None:
    key, content = trial.key(), b"late"
    url = trial.links.download(key)
    _expect(trial.get(url), 404, "before it is there")
    trial.lay(key, content)
    _opens_once(trial, url, content, "404")


def _signatures(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key)
    bare = url.partition("?")[0]
    _expect(trial.get(bare), 403, "unsigned", code="MissingKey")
    earlier = re.sub(r"(?<=Expires=)\d+", lambda found: str(int(found[0]) - 1), url)
    _expect(trial.get(earlier), 403, "with another end", code="AccessDenied")
    _expect(trial.get(re.sub(r"(?<=Key-Pair-Id=)\w+", "KNOBODY", url)), 403, "with another key", code="InvalidKey")
    _opens_once(trial, url, content, "what was forged")


def _methods(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key)
    _expect(trial.visit("PUT", url, {}, b"other"), 403, "PUT")
    _expect(trial.visit("DELETE", url, {}), 403, "DELETE")
    _opens_once(trial, url, content, "PUT and DELETE")


def _at_once(trial: Trial) -> None:
    key, content = trial.laid()
    url = trial.links.download(key)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(trial.get, [url] * AT_ONCE))
    served = [answer for answer in answers if answer.body == content]
    if len(served) != 1 or {answer.status for answer in answers} - {200, 403, 503}:
        raise Wrong(f"{len(served)} of {AT_ONCE} got the object; {sorted(answer.status for answer in answers)}")


def _bucket(trial: Trial) -> None:
    if not trial.bucket_url:
        raise CannotBeTried("this is not AWS's bucket")
    key, _ = trial.laid()
    _expect(trial.get(f"{trial.bucket_url}/{key}"), 403, "the bucket by itself", code="AccessDenied")


def _api(trial: Trial) -> None:
    if trial.api is None:
        raise CannotBeTried("there is no API, or it is not called by IAM")
    key, content = trial.laid()
    target = f"/get-url?key={key}"
    _expect(trial.api("GET", target, is_signed=False), 403, "unsigned")
    made = trial.api("GET", target, is_signed=True)
    _expect(made, 200, "signed")
    _expect(trial.api("HEAD", "/url", is_signed=True), 405, "HEAD /url")
    found = re.search(rb'"(https://[^"]+)"', made.body)
    _opens_once(trial, found[1].decode() if found else "", content, "it was made")


CHECKS: Sequence[tuple[str, Callable[[Trial], None]]] = (
    ("an upload link stores once, and never over an object", _uploads),
    ("a download link opens once, and is refused in oncegate's words", _opens),
    ("HEAD and OPTIONS spend nothing", _looks),
    ("a person and a preview get a page; the button's POST is answered 303", _asks),
    ("Range and If-None-Match are not passed on: the whole is sent", _ranges),
    ("a claim that a viewer sends is not believed", _forged_claim),
    ("a missing object costs no use, and its 404 is not kept", _missing),
    ("unsigned, forged and unknown keys get AWS's answers, and spend nothing", _signatures),
    ("no other method works by a download link", _methods),
    ("of eight at once one gets the object", _at_once),
    ("the bucket by itself is closed", _bucket),
    ("the API answers who is signed, and nobody else", _api),
)
"""Numbered from 1; docs/aws/SMOKE.md has the same numbers, and a test compares them."""
