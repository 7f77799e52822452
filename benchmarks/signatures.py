"""Verifying and signing links, beside the bare ``cryptography`` call on the same bytes.

Each link is verified once by each key, as a key remembers the last signatures that it has checked.

python benchmarks/signatures.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

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

T = TypeVar("T")
BUDGETS = {"ecdsa": 1.2, "rsa": 1.5}
ROUNDS, LINKS, SIGNED = 9, 400, 200
HEADERS = ((b"host", b"127.0.0.1:8080"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*"))


def took_us(function: Callable[[T], object], values: Sequence[T]) -> float:
    """Return what a call takes, of one for each value."""
    start = time.perf_counter()
    for value in values:
        function(value)
    return (time.perf_counter() - start) / len(values) * 1e6


def main() -> None:
    """Print a table."""
    print(
        f"{'':8}{'verify us':>11}{'plain us':>10}{'bare us':>9}{'ratio':>7}{'budget':>8}   "
        f"{'sign us':>9}{'bare us':>9}{'ratio':>7}{'budget':>8}"
    )
    for kind in ("ecdsa", "rsa"):
        measure(kind)


def measure(kind: KeyKind) -> None:
    """Print one row."""
    private, public = new_key_pair(kind)
    key = load_signing_key(private).named("K1")
    now_s = int(time.time())

    def new_wish() -> Wish:
        ticket = Ticket(operation=Operation.GET, uses=1, nonce=uuid7(now_s * 1000, os.urandom(10)))
        return Wish(object_key="reports/2026/summary.pdf", ticket=ticket, expires_s=now_s + 3600)

    def make(wish: Wish) -> str:
        return make_link(wish, public_url="http://127.0.0.1:8080", key=key, s3=None, now_s=now_s)

    def request_for(link: str) -> ViewerRequest:
        url = parse_url(link)
        return ViewerRequest(
            method="GET", scheme=url.scheme, host=url.host, path=url.path, query=url.query, headers=HEADERS
        )

    requests = [request_for(make(new_wish())) for _ in range(LINKS)]
    read = [cloudfront.read_credential(request, read_parameters(request.query)) for request in requests]
    wishes = [new_wish() for _ in range(SIGNED)]
    whole, plain, bare, made, signed = ([float("inf")] for _ in range(5))
    for _ in range(ROUNDS):
        # new keys, which have checked nothing yet
        fast, slow, alone = (load_public_key(public) for _ in range(3))
        by_fast, by_slow = Trust(keys=KeyGroup({"K1": fast})), Trust(keys=KeyGroup({"K1": slow}))
        whole.append(took_us(lambda request: commonest_grant(request, by_fast, now_s=now_s), requests))  # noqa: B023
        plain.append(took_us(lambda request: verify(request, by_slow, now_s=now_s), requests))  # noqa: B023
        bare.append(took_us(lambda c: alone._verify(c.signature, c.signed_bytes, *alone._arguments[c.hash_name]), read))  # noqa: B023, SLF001
        made.append(took_us(make, wishes))
        signed.append(took_us(lambda c: key.sign(c.signed_bytes, "SHA256"), read[:SIGNED]))
    row = [min(whole), min(plain), min(bare), min(made), min(signed)]
    print(
        f"{kind:8}{row[0]:11.1f}{row[1]:10.1f}{row[2]:9.1f}{row[0] / row[2]:7.2f}{BUDGETS[kind]:8}   "
        f"{row[3]:9.1f}{row[4]:9.1f}{row[3] / row[4]:7.2f}{1.1:8}"
    )


if __name__ == "__main__":
    main()
