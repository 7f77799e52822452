"""New links of one key, the same for all who take turns in a round; and the bare calls that signatures consist of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from benchmarks.figures import Sample, in_turns
from benchmarks.plan import Chart, Outcome, Table
from oncegate.keys.pem import KeyKind, load_public_key, load_signing_key, new_key_pair
from oncegate.links import cloudfront
from oncegate.links.canned import commonest_grant
from oncegate.links.grant import Operation
from oncegate.links.issue import Wish, make_link
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import uuid7
from oncegate.links.parameters import read_parameters
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import Ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, verify

KINDS: tuple[KeyKind, ...] = ("rsa", "ecdsa")
PUBLIC_URL = "http://127.0.0.1:8080"
KEY = "reports/2026/summary.pdf"
HEADERS = ((b"host", b"127.0.0.1:8080"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*"))


def timed(calls: Iterable[Callable[[], object]]) -> Sample:
    """Return the microseconds of CPU of a call."""
    ready = [*calls]
    begun = time.thread_time()
    for call in ready:
        call()
    return {"us": (time.thread_time() - begun) / len(ready) * 1e6}


def compare(
    kind: KeyKind,
    ways: Mapping[str, Callable[[int], Sample]],
    outcome: Outcome,
    table: Table,
    *,
    rounds: int,
    chart: str,
) -> None:
    """Measure ways in turns beside the "bare call" among them, and add what was found to outcome and table.

    Args:
        kind: of the key.
        ways: each measures a round; "oncegate" is what must be true of.
        outcome: takes raw figures, the ratio that is judged, and the chart.
        table: takes a row for each way.
        rounds: how often all take their turn.
        chart: begins the name of its file.
    """
    series = in_turns(ways, rounds)
    outcome.raw[kind] = series.samples
    outcome.measured[kind] = series.ratio("oncegate", "bare call", "us")
    for name in series.samples:
        table.add(f"{name}, {kind}", series.of(name, "us"), series.ratio(name, "bare call", "us"))
    bars = tuple((name, series.of(name, "us")) for name in series.samples)
    outcome.charts.append(Chart(f"{chart}-{kind}", f"{table.title}, {kind}", "us", bars))


class Key:
    """A key pair of a kind, and what is done with it."""

    def __init__(self, kind: KeyKind, count: int) -> None:
        """Draw the pair.

        Args:
            kind: of the pair.
            count: links of a round.
        """
        self.kind: KeyKind = kind
        self.private_pem, public = new_key_pair(kind)
        self._signing = load_signing_key(self.private_pem).named("K1")
        # a key remembers the last signatures that it has checked: one for each way of checking
        self._trust, self._plain_trust = (Trust(keys=KeyGroup({"K1": load_public_key(public)})) for _ in range(2))
        self._private, self._public = load_pem_private_key(self.private_pem, None), load_pem_public_key(public)
        self._count = count
        self._now_s = int(time.time())
        self._drawn: tuple[int, list[ViewerRequest]] = (-1, [])

    def verify(self, number: int) -> Sample:
        """Time the check of each link of a round as the gateway does it: no link is checked twice, so no memory helps."""
        requests = self._requests(number)
        assert commonest_grant(requests[0], self._trust, now_s=self._now_s) is not None
        return timed(partial(commonest_grant, request, self._trust, now_s=self._now_s) for request in requests[1:])

    def verify_any(self, number: int) -> Sample:
        """Time the check that takes any link."""
        requests = self._requests(number)
        return timed(partial(verify, request, self._plain_trust, now_s=self._now_s) for request in requests)

    def verify_bare(self, number: int) -> Sample:
        """Time the ``cryptography`` call on the same signatures and bytes."""
        calls: list[Callable[[], object]] = []
        for request in self._requests(number):
            credential = cloudfront.read_credential(request, read_parameters(request.query))
            assert credential is not None
            calls.append(partial(self._check, credential.signature, credential.signed_bytes))
        return timed(calls)

    def sign(self, _: int) -> Sample:
        """Time the making of links."""
        return timed(partial(self._make, wish) for wish in self._wishes())

    def sign_bare(self, _: int) -> Sample:
        """Time the ``cryptography`` call on as many bytes as a policy has."""
        message = os.urandom(180)
        return timed([partial(self._sign, message)] * self._count)

    def _check(self, signature: bytes, message: bytes) -> None:
        if isinstance(self._public, rsa.RSAPublicKey):
            self._public.verify(signature, message, padding.PKCS1v15(), SHA256())
        elif isinstance(self._public, ec.EllipticCurvePublicKey):
            self._public.verify(signature, message, ec.ECDSA(SHA256()))

    def _sign(self, message: bytes) -> None:
        if isinstance(self._private, rsa.RSAPrivateKey):
            self._private.sign(message, padding.PKCS1v15(), SHA256())
        elif isinstance(self._private, ec.EllipticCurvePrivateKey):
            self._private.sign(message, ec.ECDSA(SHA256()))

    def _make(self, wish: Wish) -> str:
        return make_link(wish, public_url=PUBLIC_URL, key=self._signing, s3=None, now_s=self._now_s)

    def _wishes(self) -> list[Wish]:
        nonces = [uuid7(self._now_s * 1000, os.urandom(10)) for _ in range(self._count)]
        tickets = (Ticket(operation=Operation.GET, uses=1, nonce=nonce) for nonce in nonces)
        return [Wish(object_key=KEY, ticket=ticket, expires_s=self._now_s + 3_600) for ticket in tickets]

    def _requests(self, number: int) -> list[ViewerRequest]:
        if self._drawn[0] != number:
            self._drawn = number, [_request(self._make(wish)) for wish in self._wishes()]
        return self._drawn[1]


def _request(link: str) -> ViewerRequest:
    url = parse_url(link)
    return ViewerRequest(
        method="GET", scheme=url.scheme, host=url.host, path=url.path, query=url.query, headers=HEADERS
    )
