"""Verifying and signing a link, beside the bare ``cryptography`` call on the same bytes.

python benchmarks/signatures.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from oncegate.keys.pem import KeyKind, load_public_key, load_signing_key, new_key_pair
from oncegate.links import cloudfront
from oncegate.links.grant import Operation
from oncegate.links.issue import Wish, make_link
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import uuid7
from oncegate.links.parameters import read_parameters
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import Ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, verify

ROUNDS = 7
HEADERS = ((b"host", b"127.0.0.1:8080"), (b"user-agent", b"curl/8.5.0"), (b"accept", b"*/*"))


def best_us(calls: int, *functions: Callable[[], object]) -> list[float]:
    """The best of several rounds, in turns, so that all meet the same machine."""
    best = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            best[number] = min(best[number], (time.perf_counter() - start) / calls * 1e6)
    return best


def main() -> None:
    """Print a table."""
    print(
        f"{'':8}{'verify us':>11}{'bare us':>9}{'ratio':>7}{'budget':>8}   {'sign us':>9}{'bare us':>9}{'ratio':>7}{'budget':>8}"
    )
    for kind in ("ecdsa", "rsa"):
        measure(kind)


def measure(kind: KeyKind) -> None:
    """Print one row."""
    private, public = new_key_pair(kind)
    key, public_key = load_signing_key(private).named("K1"), load_public_key(public)
    now_s = int(time.time())
    ticket = Ticket(operation=Operation.GET, uses=1, nonce=uuid7(now_s * 1000, os.urandom(10)))
    wish = Wish(object_key="reports/2026/summary.pdf", ticket=ticket, expires_s=now_s + 3600)
    url = parse_url(make_link(wish, public_url="http://127.0.0.1:8080", key=key, s3=None, now_s=now_s))
    trust = Trust(keys=KeyGroup({"K1": public_key}))
    request = ViewerRequest(
        method="GET", scheme=url.scheme, host=url.host, path=url.path, query=url.query, headers=HEADERS
    )
    credential = cloudfront.read_credential(request, read_parameters(request.query))
    whole, bare = best_us(
        2000,
        lambda: verify(request, trust, now_s=now_s),
        lambda: public_key.verify(credential.signature, credential.signed_bytes, credential.hash_name),
    )
    made, signed = best_us(
        400,
        lambda: make_link(wish, public_url="http://127.0.0.1:8080", key=key, s3=None, now_s=now_s),
        lambda: key.sign(credential.signed_bytes, "SHA256"),
    )
    print(
        f"{kind:8}{whole:11.1f}{bare:9.1f}{whole / bare:7.2f}{1.2:8}   "
        f"{made:9.1f}{signed:9.1f}{made / signed:7.2f}{1.1:8}"
    )


if __name__ == "__main__":
    main()
