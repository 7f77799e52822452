"""The joined file and the gateway give one verdict: on the vectors, on tickets, and on ten thousand mutated events."""

from __future__ import annotations

import copy
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from edge_world import BROWSER, HOST, PROGRAM, SIGNING, EdgeWorld, header, is_passed_on, link, viewer_event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from two_calls import TwoCalls

from oncegate.keys.pem import load_public_key, new_key_pair
from oncegate.ledgers.dynamodb.items import key_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import id_of_text, text_of_id, uuid7
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import read_ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, verify
from oncegate.uses.record import from_json

MUTATIONS = 10_000
HOMES = {"": "us-east-1", "b": "eu-central-1"}


def at(function: ModuleType, now_s: int) -> None:
    """Let an instance take this for the time."""
    real = time
    function.time = SimpleNamespace(time=lambda: now_s, monotonic=real.monotonic, sleep=real.sleep)


def test_every_cloudfront_vector_has_the_gateways_verdict(
    world_with: Callable[..., EdgeWorld], vectors: ModuleType, pytestconfig: pytest.Config
) -> None:
    """What the gateway passes, the edge passes with the same key; what both can see to be wrong, both refuse."""
    world = world_with(plain_links="allow", confirm="never")
    document = vectors.load_vectors(pytestconfig)
    seen: Counter[bool] = Counter()
    for vector in document["vectors"]:
        request: ViewerRequest = vectors.request_of(vector)
        if vector["category"].startswith("s3") or request.scheme != "https":
            continue
        trust = Trust(keys=document["key_group"], plain_links="allow")
        try:
            key: str | None = verify(request, trust, now_s=vector["now"]).object_key
        except Refused:
            key = None
        at(world.function, vector["now"])
        event = viewer_event(
            f"https://{request.host}", request.method, {**PROGRAM, "host": request.host}, address=vector["client_ip"]
        )
        sent = event["Records"][0]["cf"]["request"]
        sent["uri"], sent["querystring"] = request.path.decode("latin-1"), request.query.decode("latin-1")
        cookie = request.header(b"cookie")
        if cookie is not None:
            sent["headers"]["cookie"] = [{"key": "Cookie", "value": cookie.decode("latin-1")}]
        found = world.function.handler(event, None)
        if key is not None:
            assert is_passed_on(found), vector["id"]
            assert unquote_to_bytes(found["uri"])[1:].decode() == key
        elif vector.get("reason") not in ("bad-signature", "unknown-key", "malformed-signature", "missing-signature"):
            assert not is_passed_on(found), vector["id"]
        seen[key is not None] += 1
    assert min(seen[True], seen[False]) > 30


tickets = st.one_of(
    st.builds(
        lambda op, uses, made_ms, home: f"{op}{uses}.{text_of_id(uuid7(made_ms, bytes(range(10))))}{home}",
        st.sampled_from("gpx"),
        st.sampled_from(("", "1", "2", "9999", "10000", "01")),
        st.integers(int(time.time() - 3000) * 1000, int(time.time() + 2 * 86_400) * 1000),
        st.sampled_from(("", ".b", ".c", ".", ".B")),
    ),
    st.text(alphabet="gp.0123456789abAQ_-%", max_size=40),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=tickets)
def test_every_ticket_has_the_gateways_verdict(verdicts: Callable[[str], tuple[bool, bool]], text: str) -> None:
    """One grammar: a spelling that one door took and the other did not would have a use at each."""
    at_gateway, at_edge = verdicts(text)
    assert at_gateway == at_edge


@pytest.fixture
def verdicts(world_with: Callable[..., EdgeWorld], table: TwoCalls) -> Callable[[str], tuple[bool, bool]]:
    """Whether a canned link with this ticket opens at a gateway, and at the edge."""
    world = world_with(homes=HOMES)
    private, public = new_key_pair("ecdsa")
    from oncegate.keys.pem import load_signing_key  # noqa: PLC0415 - beside its only use

    key = load_signing_key(private).named("K1")
    trust = Trust(keys=KeyGroup({"K1": load_public_key(public)}), plain_links="refuse", homes=frozenset(HOMES))

    def ask(text: str) -> tuple[bool, bool]:
        for name in [name for name in table.items if name[1] != "ledger"]:
            del table.items[name]
        url = sign_url(f"https://{HOST}/a?once={text}", key=key, expires_s=int(time.time()) + 60)
        parts = parse_url(url)
        request = ViewerRequest(method="GET", scheme="https", host=HOST, path=parts.path, query=parts.query)
        try:
            verify(request, trust, now_s=int(time.time()))
        except Refused:
            return False, is_passed_on(world.view(url))
        return True, is_passed_on(world.view(url))

    return ask


# Mutated events.


def originals() -> list[dict[str, Any]]:
    """Events of every kind that is passed on."""
    in_a_while = int(time.time()) + 600
    wide = f"https://{HOST}/in/*?once={draw_ticket(Operation.PUT)}"
    put = {**PROGRAM, "content-length": "10", "content-type": "image/png"}
    custom = link("d/a%20b.txt", custom=True, limits="&response-content-disposition=attachment")
    path, _, query = link("a.txt", uses=3).partition("?")
    once, *own = query.split("&")
    return [
        viewer_event(link("a.txt")),
        viewer_event(link("a.txt", home="b")),
        viewer_event(custom),
        viewer_event(link("a.txt"), "HEAD"),
        viewer_event(link("in/a", put=True, limits="&once-max=100&once-type=image%2Fpng"), "PUT", put),
        viewer_event(
            sign_url(wide, key=SIGNING, expires_s=in_a_while, custom=True).replace("/in/*", "/in/x"), "PUT", put
        ),
        viewer_event(f"{path}?{once}", headers={**PROGRAM, "cookie": "; ".join(f"CloudFront-{pair}" for pair in own)}),
        viewer_event(link("a.txt", limits="&once-confirm=never"), headers=BROWSER),
    ]


JUNK: tuple[Any, ...] = (
    "", "\0", "%", "%00", "..", "//", "\udce9", "é", "a" * 9000, "once=g.AAAAAAAAAAAAAAAAAAAAAA", "&once=", "%6Fnce=g", "*", "?",
    "Expires=1", "Policy=e30_", "X-Amz-Signature=0", None, 7, [], {}, True,
)  # fmt: skip


def mutated(event: dict[str, Any], rnd: random.Random) -> dict[str, Any]:
    """Change one to four things of an event: texts cut, doubled, spliced; members gone, or of another kind."""
    changed = copy.deepcopy(event)
    cf = changed["Records"][0]["cf"]
    sent = cf["request"]
    for _ in range(rnd.randint(1, 4)):
        kind = rnd.randrange(8)
        if kind < 3 and isinstance(sent.get("querystring"), str):
            parts = sent["querystring"].split("&")
            index = rnd.randrange(len(parts))
            what = rnd.randrange(6)
            if what == 0:
                del parts[index]
            elif what == 1:
                parts.insert(rnd.randrange(len(parts) + 1), parts[index])
            elif what == 2:
                parts.insert(index, str(rnd.choice([junk for junk in JUNK if isinstance(junk, str)])))
            elif what == 3:
                rnd.shuffle(parts)
            elif parts[index]:
                place = rnd.randrange(len(parts[index]))
                parts[index] = parts[index][:place] + chr(rnd.randrange(33, 127)) + parts[index][place + 1 :]
            sent["querystring"] = "&".join(parts)
        elif kind == 3 and isinstance(sent.get("uri"), str):
            place = rnd.randrange(len(sent["uri"]) + 1)
            sent["uri"] = (
                sent["uri"][:place] + str(rnd.choice([j for j in JUNK if isinstance(j, str)])) + sent["uri"][place:]
            )
        elif kind == 4:
            sent["method"] = rnd.choice(("GET", "PUT", "HEAD", "POST", "OPTIONS", "DELETE", "get", ""))
        elif kind == 5 and isinstance(sent.get("headers"), dict):
            name = rnd.choice(
                (*sent["headers"], "range", "x-oncegate-claim", "cookie", "purpose", "content-length", "x-amz-acl")
            )
            value = rnd.choice(("x", "5", "bytes=0-", "use.a.b.1..", "CloudFront-Policy=x", "prefetch"))
            sent["headers"][name] = [{"key": name, "value": value}] * rnd.choice((0, 1, 1, 2))
        elif kind == 6:
            sent["clientIp"] = rnd.choice(("", "::1", "203.0.113.9", "x", "999.1.1.1", "::ffff:203.0.113.7"))
        elif rnd.random() < 0.3:
            if rnd.random() < 0.1:
                cf["request"] = rnd.choice(JUNK)
                return changed
            sent[rnd.choice(tuple(sent))] = rnd.choice(JUNK)
        else:
            sent.pop(rnd.choice(tuple(sent)), None)
            sent.setdefault("method", "GET")
    return changed


_TICKET = re.compile(r"([gp])([1-9][0-9]{0,3})?\.([A-Za-z0-9_-]{22})(?:\.([a-z0-9]{1,12}))?")
_FROM_CLOUDFRONT = str.maketrans("-_~", "+=/")


def window_of(sent: dict[str, Any]) -> int:
    """When the link ends, read by code of this test."""
    import base64  # noqa: PLC0415 - beside its only use

    pairs = dict(part.partition("=")[::2] for part in sent["querystring"].split("&"))
    cookies = {}
    for line in sent["headers"].get("cookie", ()):
        for pair in line["value"].split(";"):
            name, _, value = pair.strip().partition("=")
            cookies[name.removeprefix("CloudFront-")] = value
    shown = pairs if {"Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"} & set(pairs) else cookies
    if "Policy" in shown:
        policy = json.loads(base64.b64decode(shown["Policy"].replace("%7E", "~").translate(_FROM_CLOUDFRONT)))
        statement = policy["Statement"]
        (statement,) = statement if isinstance(statement, list) else [statement]
        return int(statement["Condition"]["DateLessThan"]["AWS:EpochTime"])
    return int(unquote_to_bytes(shown["Expires"]))


def test_mutated_events_pass_only_what_was_granted_and_claimed(
    world_with: Callable[..., EdgeWorld], table: TwoCalls, capsys: pytest.CaptureFixture[str]
) -> None:
    """No exception, and whatever passes has one ticket for a home that is ours, its key, an open window and one claim."""
    world = world_with(homes=HOMES)
    rnd = random.Random(20_261_128)
    passed = refused = 0
    for number in range(MUTATIONS):
        if number % 40 == 0:
            events = originals()
        event = mutated(rnd.choice(events), rnd)
        before = copy.deepcopy(event)
        found = world.function.handler(event, None)
        sent = before["Records"][0]["cf"]["request"]
        if not is_passed_on(found):
            assert 200 <= int(found["status"]) < 600
            refused += 1
            continue
        passed += 1
        values = [part.partition("=")[2] for part in sent["querystring"].split("&") if part.partition("=")[0] == "once"]
        names = [
            unquote_to_bytes(part.partition("=")[0].encode("utf-8", "surrogateescape"))
            for part in sent["querystring"].split("&")
        ]
        assert len(values) == 1 == names.count(b"once")
        ticket = _TICKET.fullmatch(values[0])
        assert ticket is not None
        assert (ticket[4] or "") in HOMES
        assert read_ticket(values[0].encode(), now_s=int(time.time()), homes=frozenset(HOMES)).uses == int(
            ticket[2] or 1
        )
        assert window_of(sent) > time.time()
        assert unquote_to_bytes(found["uri"]) == unquote_to_bytes(sent["uri"].encode("utf-8", "surrogateescape"))
        assert b"/../" not in unquote_to_bytes(found["uri"]) + b"/"
        assert not {"range", "cookie", "authorization", "x-amz-acl", "if-match"} & set(found["headers"])
        assert ("g" if found["method"] in ("GET", "HEAD") else "p") == ticket[1]
        if found["method"] == "HEAD":
            assert "x-oncegate-claim" not in found["headers"]
            continue
        link_id = id_of_text(ticket[3])
        key = key_of(link_id)
        record = from_json(table.items["acme", key["s"]["S"], key["id"]["S"]]["r"]["S"].encode())
        claim_id = str(header(found, "x-oncegate-claim")).split(".")[2]
        ids = [claim.claim_id for claim in record.claims] + ([record.lease.claim_id] if record.lease else [])
        assert ids.count(claim_id) == 1
        assert record.uses <= int(ticket[2] or 1)
    assert passed > MUTATIONS / 100
    assert refused > MUTATIONS / 2
    capsys.readouterr()


def test_an_event_that_is_none_ends_in_an_answer_or_an_error_of_lambda(world: EdgeWorld) -> None:
    """Without a configuration in it nobody knows which trigger it is: Lambda fails, and CloudFront answers 502."""
    for event in ({}, {"Records": []}, {"Records": [{"cf": {}}]}):
        with pytest.raises((KeyError, IndexError)):
            world.function.handler(event, None)
