"""The words for the issuer: the same verdict as the door's on everything, and never an exception."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from oncegate.links.explain import Step, explain
from oncegate.links.grant import Operation
from oncegate.links.policy import EPOCH_MAX_S
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.verify import Trust, verify


def reason_of(request: ViewerRequest, trust: Trust, now_s: int) -> str:
    """The stable name of the door's refusal; empty where it opens."""
    try:
        verify(request, trust, now_s=now_s)
    except Refused as refused:
        return refused.reason.value
    return ""


def agree(request: ViewerRequest, trust: Trust, now_s: int) -> list[Step]:
    """Explain, and check that the first failed step is what the door says."""
    steps = explain(request, trust, now_s=now_s)
    failed = [step for step in steps if step.passed is False]
    door_says = reason_of(request, trust, now_s)
    assert all(step.passed for step in steps) == (door_says == ""), (door_says, steps)
    if door_says:
        assert door_says in {step.reason for step in failed}
    assert all(step.words for step in steps if step.passed is not True)
    return steps


@pytest.mark.parametrize("plain_links", ["once", "allow", "refuse"])
@pytest.mark.parametrize("plain_put", [(), ("",)])
def test_on_every_vector_all_checks_pass_if_and_only_if_the_door_opens(
    vectors: Any, request: pytest.FixtureRequest, plain_links: str, plain_put: tuple[str, ...]
) -> None:
    """``explain`` runs the checks to the end in an order of its own; the verdict must be the same for all that."""
    document = vectors.load_vectors(request.config)
    for vector in document["vectors"]:
        trust = vectors.trust_of(document, vector)
        trust = Trust(keys=trust.keys, s3=trust.s3, plain_links=plain_links, plain_put=plain_put)
        agree(vectors.request_of(vector), trust, vector["now"])


def test_on_changed_links_it_agrees_and_never_raises(door: Any) -> None:
    """Whatever an issuer pastes: half a link, two links, a link with a line break."""
    rnd = random.Random(1)
    once = door.once()
    urls = [
        door.canned(f"/dir/a?{once}"),
        door.custom(f"/dir/a?{once}", resource=f"{door.origin}/dir/*?{once}"),
        door.presigned(f"/dir/a?{once}"),
        door.canned(f"/a?{once}", expires_s=door.now_s - 1),
    ]
    requests = [door.request(url) for url in urls]
    for _ in range(1_000):
        request = rnd.choice(requests)
        query = bytearray(request.query)
        for _ in range(rnd.choice((0, 1, 2))):
            at = rnd.randrange(len(query))
            query[at : at + rnd.choice((0, 1, 30))] = rnd.choice((b"", b"%", b"&", bytes([rnd.randrange(256)])))
        agree(
            ViewerRequest(method="GET", scheme="https", host=request.host, path=request.path, query=bytes(query)),
            door.trust,
            door.now_s,
        )


@pytest.mark.parametrize("expires_s", [2**33, 2**40, 2**56, EPOCH_MAX_S])
def test_an_expiry_beyond_every_calendar_is_said_in_seconds(door: Any, expires_s: int) -> None:
    """Signers write 2**63 - 1 for ever; Python's calendar ends in 9999, and the system's soon after 2**55."""
    for url in (door.canned(f"/a?{door.once()}", expires_s=expires_s), door.custom("/a", expires_s=expires_s)):
        steps = agree(door.request(url), door.trust, door.now_s)
        words = {step.name: step.words for step in steps}["expiry"]
        assert words.startswith("2242-") if expires_s == 2**33 else words == f"{expires_s} seconds after 1970"


def test_an_expired_link_is_still_explained_and_a_forged_one_is_not(door: Any) -> None:
    """What a forger wrote means nothing; an issuer wants to hear of everything that is wrong at once."""
    expired = door.canned(f"/a/?{door.once(Operation.PUT)}", expires_s=door.now_s)
    steps = {step.name: step for step in agree(door.request(expired), door.trust, door.now_s)}
    assert (steps["expiry"].passed, steps["ticket"].passed, steps["object key"].passed) == (False, True, False)
    assert steps["operation"].passed is None
    forged = {step.name: step for step in agree(door.request(expired + "x"), door.trust, door.now_s)}
    assert forged["ticket"].passed is None


def test_a_link_that_passes_is_put_into_words(door: Any) -> None:
    """Names of checks are stable: documentation and tools use them."""
    steps = agree(door.request(door.canned(f"/a?{door.once(uses=3)}&once-max=1", key_id="KRSA")), door.trust, 0)
    assert [step.name for step in steps] == [
        "parameters",
        "credential",
        "key",
        "signature",
        "resource",
        "not before",
        "expiry",
        "address",
        "limits",
        "ticket",
        "object key",
        "operation",
    ]
    words = {
        step.name: step.words
        for step in agree(door.request(door.canned(f"/a?{door.once(uses=3)}")), door.trust, door.now_s)
    }
    assert words["ticket"] == "download, 3 use(s)"
    assert words["object key"] == "a"


def test_nothing_that_could_be_replayed_is_in_the_words(door: Any) -> None:
    """They end in terminals, tickets and chats."""
    for url in (door.canned(f"/a?{door.once()}"), door.custom("/a"), door.presigned("/a")):
        for changed in (url, url + "x"):
            said = json.dumps([step.words for step in explain(door.request(changed), door.trust, now_s=door.now_s)])
            signature = url.partition("Signature=")[2][:40]
            assert signature not in said
            assert "a secret" not in said
