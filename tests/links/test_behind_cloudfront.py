"""What a function behind CloudFront checks by itself: everything of ``verify`` but key and signature."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from oncegate.links.behind_cloudfront import NothingShown, verify_behind_cloudfront
from oncegate.links.grant import Grant, Operation
from oncegate.links.key_group import KeyGroup
from oncegate.links.refusal import Reason, Refused
from oncegate.links.verify import Trust

TRUST = Trust(keys=KeyGroup({}), plain_links="refuse", homes=frozenset(("eu1",)))
NOT_CHECKED_HERE = {Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE}


def behind(door: Any, url: str, *, method: str = "GET", now_s: int | None = None, trust: Trust = TRUST) -> Grant:
    """What a URL allows behind CloudFront."""
    request = door.request(url, method=method)
    return verify_behind_cloudfront(request, trust, now_s=door.now_s if now_s is None else now_s)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_both_ways_grant_the_same(door: Any, method: str) -> None:
    """A link must mean the same at a gateway and at the edge, or a use would be counted twice."""
    once = door.once(Operation.PUT if method == "PUT" else Operation.GET, uses=3, home="eu1")
    limits = "&once-max=10&once-type=image%2Fpng" if method == "PUT" else "&response-content-type=text/plain"
    for url in (door.canned(f"/a%20b?{once}{limits}"), door.custom(f"/a%20b?{once}{limits}")):
        at_gateway = door.open(url, method=method, plain_links="refuse", homes=TRUST.homes)
        assert behind(door, url, method=method) == at_gateway


def test_no_key_is_asked_for(door: Any) -> None:
    """The function has none: a signature that CloudFront would refuse never comes here."""
    url = door.canned(f"/a?{door.once()}").replace("Key-Pair-Id=KEC", "Key-Pair-Id=K2")
    assert behind(door, url).key_id == "K2"


@pytest.mark.parametrize("query", ["", "once=g.AZt6t20AcAGCAwQFBgcICQ", "Signature=a&Key-Pair-Id=KEC"])
def test_a_request_without_an_end_is_nobodys(door: Any, query: str) -> None:
    """CloudFront checked nothing: the behaviour has lost its key group, or hides what it checked. Never open."""
    with pytest.raises(NothingShown):
        behind(door, f"{door.origin}/a?{query}")


@pytest.mark.parametrize(("plain_links", "reason"), [("refuse", Reason.PLAIN_REFUSED), ("allow", None)])
def test_a_link_without_a_ticket_is_never_counted(door: Any, plain_links: str, reason: Reason | None) -> None:
    """Its id needs the key's digest, so nothing here could count its uses."""
    url = door.canned("/a")
    if reason is None:
        assert not behind(door, url, trust=replace(TRUST, plain_links=plain_links)).is_counted
        return
    with pytest.raises(Refused) as caught:
        behind(door, url, trust=replace(TRUST, plain_links=plain_links))
    assert caught.value.reason is reason


def test_counting_links_without_a_ticket_is_refused_by_name(door: Any) -> None:
    """Their ids would be the same for every key: one customer's link would spend another's."""
    with pytest.raises(ValueError, match="cannot be counted"):
        behind(door, door.canned("/a"), trust=replace(TRUST, plain_links="once"))


def test_an_s3_link_is_refused(door: Any) -> None:
    """CloudFront signs the request to the bucket, and S3 takes no second signature (docs/aws-protocol.md 3.5.1)."""
    with pytest.raises(Refused) as caught:
        behind(door, door.presigned(f"/a?{door.once()}"))
    assert caught.value.reason is Reason.S3_UNSUPPORTED


@pytest.mark.parametrize(
    ("when_s", "reason"), [(-1, None), (0, Reason.EXPIRED)], ids=["a second before its end", "at its end"]
)
def test_the_conditions_are_checked_again(door: Any, when_s: int, reason: Reason | None) -> None:
    """They cost nothing here, and a behaviour that lost its key group would let expired links in."""
    url = door.canned(f"/a?{door.once()}", expires_s=door.now_s)
    try:
        behind(door, url, now_s=door.now_s + when_s)
    except Refused as refused:
        assert refused.reason is reason
    else:
        assert reason is None


def test_every_cloudfront_vector_has_its_verdict(vectors: ModuleType, pytestconfig: pytest.Config) -> None:
    """What AWS refuses for more than the signature is refused here too; what it lets pass, passes."""
    document = vectors.load_vectors(pytestconfig)
    trust = Trust(keys=KeyGroup({}), plain_links="allow", plain_put=("",))
    seen = 0
    for vector in document["vectors"]:
        request = vectors.request_of(vector)
        try:
            grant: Grant | None = verify_behind_cloudfront(request, trust, now_s=vector["now"])
            reason = None
        except NothingShown:
            assert vector["expected"] == "deny", vector["id"]
            continue
        except Refused as refused:
            grant, reason = None, refused.reason
        if vector["category"].startswith("s3"):
            assert grant is None
            continue
        seen += 1
        if vector["expected"] == "deny":
            wanted = vector["reason"]
            assert wanted in {r.value for r in NOT_CHECKED_HERE} or (reason and reason.value == wanted), vector["id"]
        else:
            assert grant is not None or reason in vectors.NARROWER, vector["id"]
    assert seen > 100
