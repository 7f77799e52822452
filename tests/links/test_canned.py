"""The reader of the commonest link beside ``verify``: the same grant or the same refusal, and no other link is its own."""

from __future__ import annotations

import random

import pytest

from oncegate.keys.pem import KeyKind, load_public_key, load_signing_key, new_key_pair
from oncegate.links.canned import commonest_grant
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Grant, Operation
from oncegate.links.key_group import KeyGroup, SigningKey
from oncegate.links.link_id import uuid7
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import NONCE_AHEAD_MAX_MS, Ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, verify

NOW_S = 1_800_000_000
KINDS: tuple[KeyKind, ...] = ("rsa", "ecdsa")
PATHS = (
    "obj",
    "a/b/c.pdf",
    "obj",
    "a/b/c.pdf",
    "obj",
    "sp%20ace",
    "a*b",
    "~x",
    "a..b",
    "%C3%A9",
    "a//b",
    "../x",
    "x" * 1030,
    "a;b=c,d",
    "a/",
    "",
)
PIECES = [bytes([byte]) for byte in b"AZaz09-_~.=&?%*+/#;:, \0\xff\xc3"] + [
    b"once=g.", b"&Policy=x", b"&Expires=1", b"%6Fnce=1", b"&once-max=1", b"&X-Amz-Date=1", b"&Hash-Algorithm=SHA1",
    b"&Hash-Algorithm=SHA256", b"&Key-Pair-Id=Krsa", b"",
]  # fmt: skip


class Links:
    """Keys of both kinds, and links signed by them, of every form that lies near the commonest."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        pairs = {kind: new_key_pair(kind) for kind in KINDS}
        self._signers: list[SigningKey] = [load_signing_key(pair[0]).named(f"K{kind}") for kind, pair in pairs.items()]
        keys = KeyGroup({f"K{kind}": load_public_key(pair[1]) for kind, pair in pairs.items()})
        self.trusts = [
            Trust(keys=keys, plain_links=plain_links, homes=homes)
            for plain_links in ("once", "allow", "refuse")
            for homes in (frozenset[str](), frozenset(("eu1",)))
        ]

    def link(self) -> bytes:
        """Sign a link; return its target."""
        rng = self.rng
        ahead_ms = rng.choice((-(10**6), *(0,) * 9, NONCE_AHEAD_MAX_MS, NONCE_AHEAD_MAX_MS + 1, 10**9))
        ticket = Ticket(
            operation=rng.choice((Operation.GET, Operation.GET, Operation.PUT)),
            uses=rng.choice((1, 1, 1, 2, 9999)),
            nonce=uuid7(NOW_S * 1000 + ahead_ms, rng.randbytes(10)),
            home=rng.choice(("",) * 8 + ("eu1", "xx")),
        )
        extra = rng.choice(("",) * 12 + ("&response-content-type=text/plain", "&x=1"))
        url = sign_url(
            f"http://h/{rng.choice(PATHS)}?once={ticket}{extra}",
            key=rng.choice(self._signers),
            expires_s=rng.choice((NOW_S + 600,) * 14 + (NOW_S, NOW_S + 1, NOW_S - 1, 2**31, 10**12, 10**17, 10**18)),
            hash_name=rng.choice(("SHA1", "SHA256")),
            custom=rng.random() < 0.05,
        )
        return url.removeprefix("http://h").encode()

    def mutated(self, target: bytes) -> bytes:
        """Change a link in up to two places, or not at all."""
        for _ in range(self.rng.choice((0, 0, 0, 1, 1, 2))):
            at = self.rng.randrange(1, len(target))
            target = target[:at] + self.rng.choice(PIECES) + target[at + self.rng.choice((0, 1, 1)) :]
        return target


def request_for(target: bytes, method: str = "GET") -> ViewerRequest:
    """Ask for a target as the gateway's listener would."""
    path, _, query = target.partition(b"?")
    return ViewerRequest(
        method=method, scheme="http", host="h", path=path, query=query, address="192.0.2.1", address_is_proof=True
    )


def outcome_of(request: ViewerRequest, trust: Trust) -> Grant | tuple[object, str]:
    """What ``verify`` says: the grant, or reason and hint of the refusal."""
    try:
        return verify(request, trust, now_s=NOW_S)
    except Refused as refused:
        return refused.reason, refused.hint


def _compare(links: Links, count: int) -> tuple[int, int]:
    """Compare both readers; return how many links the fast one granted, and how many it refused."""
    granted = refused = 0
    base = [links.link() for _ in range(min(400, count // 4))]
    for _ in range(count):
        target = links.mutated(links.rng.choice(base))
        request = request_for(target, links.rng.choice(("GET", "GET", "GET", "HEAD", "PUT", "PUT", "DELETE")))
        trust = links.rng.choice(links.trusts)
        try:
            grant = commonest_grant(request, trust, now_s=NOW_S)
        except Refused as refusal:
            assert outcome_of(request, trust) == (refusal.reason, refusal.hint), (request.method, target)
            refused += 1
            continue
        if grant is not None:
            assert outcome_of(request, trust) == grant, (request.method, target)
            granted += 1
    return granted, refused


def test_both_readers_say_the_same() -> None:
    """A missing bound in the fast form would be a link that is served though it must not be."""
    granted, refused = _compare(Links(1), 1_500)
    assert granted > 60
    assert refused > 10


@pytest.mark.slow
def test_both_readers_say_the_same_of_sixty_thousand_links() -> None:
    """A byte in sixty thousand that only one of them takes would be found by whoever looks for it."""
    granted, refused = _compare(Links(2), 60_000)
    assert granted > 3_000
    assert refused > 700


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_of_our_own_is_read_by_the_fast_form(kind: KeyKind) -> None:
    """Another order of parameters in links that are made here would make every one of them slow, and nobody notice."""
    private, public = new_key_pair(kind)
    ticket = Ticket(operation=Operation.GET, uses=3, nonce=uuid7(NOW_S * 1000, bytes(10)))
    key = load_signing_key(private).named("K1")
    url = parse_url(sign_url(f"http://h/a%20b?once={ticket}", key=key, expires_s=NOW_S + 1))
    request = ViewerRequest(method="HEAD", scheme="http", host="h", path=url.path, query=url.query)
    grant = commonest_grant(request, Trust(keys=KeyGroup({"K1": load_public_key(public)})), now_s=NOW_S)
    assert grant is not None
    assert (grant.object_key, grant.uses, grant.link_id) == ("a b", 3, ticket.nonce)
