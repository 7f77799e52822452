"""The door: what counts as signed, which link is which, what may be done with it; and every forgery that was thought of."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from oncegate.links.grant import Grant, Limits, Operation, Scheme
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import uuid7
from oncegate.links.policy import canned_policy
from oncegate.links.refusal import Reason, Refused
from oncegate.links.sigv4 import presign_url
from oncegate.links.ticket import Ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import NOTE_MAX, SENDER_MAX, verify

FUZZED = 20_000


def another_ticket(door: Any, operation: Operation = Operation.GET, uses: int = 9999) -> str:
    """A ticket that the holder made himself."""
    nonce = uuid7(door.now_s * 1000, b"his own 10")
    return f"once={Ticket(operation=operation, uses=uses, nonce=nonce)}"


@pytest.mark.parametrize("home", ["", "eu1", "us1"])
def test_a_grant_names_the_ledger_of_its_ticket(door: Any, home: str) -> None:
    """Whoever asks several ledgers must ask that one: in another the link would be unused."""
    url = door.canned(f"/a?{door.once(home=home)}")
    assert door.open(url, homes=frozenset(("eu1", "us1"))).home == home


@pytest.mark.parametrize("resource", ["/in/*", "/in/a?"])
def test_a_grant_says_that_its_link_covers_more(door: Any, resource: str) -> None:
    """What counts the uses of such an upload is the ledger alone, at every door."""
    signed = door.custom("/in/ab", resource=f"{door.origin}{resource}")
    assert door.open(signed).is_wildcard
    assert not door.open(door.custom("/in/ab")).is_wildcard


# What counts as signed.


def test_a_ticket_in_a_canned_url_is_signed(door: Any) -> None:
    """The whole query is; the id is the nonce alone, so nobody's spelling of the rest enters it."""
    grant = door.open(door.canned(f"/a?{door.once(uses=3)}"))
    assert grant == Grant(
        link_id=door.nonce,
        object_key="a",
        operation=Operation.GET,
        uses=3,
        is_counted=True,
        made_ms=door.now_s * 1000,
        scheme=Scheme.CANNED,
        key_id="KEC",
        expires_s=door.now_s + 60,
    )


@pytest.mark.parametrize("change", ["removed", "replaced", "added"])
def test_a_ticket_in_a_canned_url_cannot_be_changed(door: Any, change: str) -> None:
    """Removed, the link would be plain; replaced, it would be another link; beside it, one of two."""
    once, his = door.once(), another_ticket(door)
    url = door.canned(f"/a?x=1&{once}")
    changed = {
        "removed": url.replace(f"&{once}", ""),
        "replaced": url.replace(once, his),
        "added": url.replace(once, f"{once}&{his}"),
    }[change]
    assert door.why(changed) in {Reason.BAD_SIGNATURE, Reason.DUPLICATE_PARAMETER}


UNSIGNED = [
    "once=g9999.AZt0vgeAcAGCAwQFBgcICQ",
    "once-max=999999999",
    "once-type=text%2Fhtml",
    "once-replace=1",
    "response-content-type=text%2Fhtml",
    "response-content-disposition=inline",
    "%6Fnce=g9999.AZt0vgeAcAGCAwQFBgcICQ",
    "once-later=1",
]


@pytest.mark.parametrize("added", UNSIGNED)
@pytest.mark.parametrize("credential", ["query", "cookie"])
def test_what_a_wildcard_covers_is_not_signed(door: Any, added: str, credential: str) -> None:
    """A policy for ``/dir/*`` implies any query: the holder would add his own ticket per request, or a media type."""
    resource = f"{door.origin}/dir/*"
    if credential == "query":
        url = f"{door.origin}/dir/a?{added}&{door.policy(resource)}"
        assert door.why(url.replace(f"{added}&", "")) is None
        assert door.why(url) in {Reason.UNSIGNED_PARAMETER, Reason.DUPLICATE_PARAMETER}
        return
    pairs = (pair.partition("=") for pair in door.policy(resource).split("&"))
    cookie = "; ".join(f"CloudFront-{name}={value}" for name, _, value in pairs)
    assert verify(door.request(f"{door.origin}/dir/a", cookie=cookie), door.trust, now_s=door.now_s).uses == 1
    with pytest.raises(Refused) as caught:
        verify(door.request(f"{door.origin}/dir/a?{added}", cookie=cookie), door.trust, now_s=door.now_s)
    assert caught.value.reason in {Reason.UNSIGNED_PARAMETER, Reason.DUPLICATE_PARAMETER}


@pytest.mark.parametrize(
    "query",
    [
        "once=*",
        "once=g.*",
        "*",
        "once=g.{21}?",
        "o*=g.{22}",
        "onc?=g.{22}",
        "x=1*",
        "x=*&y=*",
        "once-max=*&once=g.{22}",
    ],
)
def test_a_wildcard_in_the_resources_query_signs_no_ticket(door: Any, query: str) -> None:
    """It must stand there literally: whatever a ``*`` or ``?`` takes the place of is the holder's choice."""
    text = another_ticket(door, uses=1).removeprefix("once=g.")
    resource = f"{door.origin}/a?{query.replace('{22}', text).replace('{21}', text[:-1])}"
    asked = f"{door.origin}/a?once=g.{text}"
    for url in (asked, asked + "&x=1", f"{door.origin}/a?x=1&once=g.{text}", asked + "&once-max=1", asked + "&y=1"):
        assert door.why(f"{url}&{door.policy(resource)}") in {Reason.UNSIGNED_PARAMETER, Reason.RESOURCE_MISMATCH}


def test_a_ticket_that_stands_literally_in_the_resource_is_signed(door: Any) -> None:
    """Also under a wildcard path: then one use opens one object of the prefix."""
    once = door.once(uses=2)
    for resource, target in (
        (f"/a?{once}", f"/a?{once}"),
        (f"/dir/*?{once}", f"/dir/b?{once}"),
        (f"/dir/*?{once}&v=*", f"/dir/b?{once}&v=7"),
        (f"/dir/*\\?{once}", f"/dir/b?{once}"),
    ):
        grant = door.open(door.custom(target, resource=door.origin + resource))
        assert (grant.link_id, grant.uses) == (door.nonce, 2)


@pytest.mark.parametrize("resource", ["/dir/*?{once}", "/dir/*?{once}&v=*", "/dir/*?{once}&once-max=5"])
def test_what_is_signed_in_the_resource_cannot_be_left_out_of_the_url(door: Any, resource: str) -> None:
    """Dropping ``once`` would make the link plain, dropping ``once-max`` would make an upload as large as one likes."""
    once = door.once(Operation.PUT)
    signed = door.policy(door.origin + resource.format(once=once))
    for query in ("", "?v=1", f"?{once}&v=1&once-max=6", f"?{once}&once=x", "?once-max=5"):
        url = f"{door.origin}/dir/a{query}{'&' if query else '?'}{signed}"
        assert door.why(url, method="PUT", plain_put=("",)) in {
            Reason.UNSIGNED_PARAMETER,
            Reason.RESOURCE_MISMATCH,
            Reason.DUPLICATE_PARAMETER,
        }


@pytest.mark.parametrize(
    "respelled", ["%6Fnce={}", "onc%65={}", "once={}&%6Fnce={}", "once={}&once={}", "%6fnce={}&once={}"]
)
def test_under_sigv4_a_ticket_has_one_spelling_too(door: Any, respelled: str) -> None:
    """SigV4 signs decoded names: respelled, the ticket would be overlooked and the link be plain, with another id."""
    value = door.once().removeprefix("once=")
    url = door.presigned(f"/k?once={value}")
    assert door.open(url).link_id == door.nonce
    changed = url.replace(f"once={value}", respelled.replace("{}", value))
    assert door.why(changed) is Reason.DUPLICATE_PARAMETER


def test_under_sigv4_a_ticket_with_an_escape_is_refused(door: Any) -> None:
    """``once=%67.…`` has the same signature; every client could make as many spellings as it likes."""
    url = door.presigned(f"/k?{door.once()}")
    assert door.why(url.replace("once=g", "once=%67")) is Reason.MALFORMED_TICKET
    assert door.why(url.replace("once=g.", "once=g%2E")) is Reason.MALFORMED_TICKET


def test_a_ticket_that_is_none_is_never_a_plain_link(door: Any) -> None:
    """Signed by somebody who meant single use."""
    for value in ("", "1", "g", "true", "g0.x"):
        assert door.why(door.canned(f"/a?once={value}"), plain_links="allow") is Reason.MALFORMED_TICKET


# Which link is which.


def test_one_public_key_under_two_ids_makes_no_second_link(door: Any) -> None:
    """Key-Pair-Id is not signed, and during a rotation a key may stand in the group twice."""
    both = KeyGroup({"KEC": door.public["KEC"], "KCOPY": door.public["KEC"]})
    for target in ("/a", "/a?x=1"):
        url = door.canned(target)
        copied = url.replace("Key-Pair-Id=KEC", "Key-Pair-Id=KCOPY")
        assert door.open(url, keys=both).link_id == door.open(copied, keys=both).link_id


def test_two_keys_make_two_links(door: Any) -> None:
    """Else whoever holds one key of the group could burn, or open again, another issuer's plain links."""
    assert door.open(door.canned("/a")).link_id != door.open(door.canned("/a", key_id="KRSA")).link_id


@pytest.mark.parametrize("custom", [False, True])
def test_a_plain_link_is_the_same_however_it_is_spelled(door: Any, *, custom: bool) -> None:
    """Order of CloudFront's parameters, another signature of the same bytes, another hash, ``%7E`` for ``~``."""
    url = door.custom("/a?x=1") if custom else door.canned("/a?x=1")
    front, _, query = url.partition("?")
    own, *theirs = query.split("&")
    again = door.custom("/a?x=1") if custom else door.canned("/a?x=1")
    sha1 = None if custom else door.canned("/a?x=1", hash_name="SHA1")
    variants = [f"{front}?{'&'.join([*reversed(theirs), own])}", again, sha1, url.replace("~", "%7E")]
    ids = {door.open(variant).link_id for variant in [url, *filter(None, variants)]}
    assert len(ids) == 1
    assert ids.pop()[0] == 0xFF


@pytest.mark.parametrize("target", ["/a*b", "/a?u=x?y", "/a?u=*", "/a??", "/a?x=1", "/a", "/a?v", "/a*?v=1&w=?"])
def test_a_canned_policy_sent_as_a_custom_one_is_the_same_link(door: Any, target: str) -> None:
    """The bytes are equal, so the signature holds; as ``Policy`` their ``*`` and ``?`` are wildcards.

    With another id the holder of a plain link could use it once in each form.
    """
    url = door.canned(target)
    expires_s = door.now_s + 60
    text = door.encode(canned_policy((door.origin + target).encode(), b"%d" % expires_s))
    as_policy = url.replace(f"Expires={expires_s}", f"Policy={text}")
    assert door.open(as_policy).scheme is Scheme.CUSTOM
    assert door.open(as_policy).link_id == door.open(url).link_id


@pytest.mark.parametrize(
    "resource", ["/dir/*", "/dir/?", "/dir*", "/*", "/dir/*?v=*", "*"], ids=lambda resource: resource
)
def test_under_a_wildcard_each_object_is_a_link_of_its_own(door: Any, resource: str) -> None:
    """By the policy alone the first object would burn the whole prefix; by the path each respelling would be a use."""
    whole = resource if resource == "*" else door.origin + resource
    signed = door.policy(whole)
    query = "?v=1&" if "v=" in resource else "?"

    def link_id(path: str) -> bytes:
        return door.open(f"{door.origin}{path}{query}{signed}").link_id

    assert link_id("/dir/a") != link_id("/dir/b")
    if not resource.endswith("?"):  # there ``%61`` is three characters
        assert link_id("/dir/a") == link_id("/dir/%61")


def test_without_a_wildcard_the_object_does_not_enter_the_id(door: Any) -> None:
    """One URL names one object; the id is then what the signature is over."""
    assert door.open(door.custom("/a")).link_id == door.open(door.custom("/a")).link_id


# What may be done with it.


@pytest.mark.parametrize(
    ("ticket", "method", "reason"),
    [
        (Operation.GET, "GET", None),
        (Operation.GET, "HEAD", None),
        (Operation.GET, "PUT", Reason.METHOD_NOT_GRANTED),
        (Operation.PUT, "PUT", None),
        (Operation.PUT, "GET", Reason.METHOD_NOT_GRANTED),
        (Operation.PUT, "HEAD", Reason.METHOD_NOT_GRANTED),
        (Operation.GET, "POST", Reason.METHOD_NOT_GRANTED),
        (Operation.GET, "DELETE", Reason.METHOD_NOT_GRANTED),
        (Operation.PUT, "PATCH", Reason.METHOD_NOT_GRANTED),
        (Operation.GET, "get", Reason.METHOD_NOT_GRANTED),
    ],
)
def test_the_ticket_says_which_methods_it_admits(door: Any, ticket: str, method: str, reason: Reason | None) -> None:
    """A download link that took a PUT would replace the object."""
    assert door.why(door.canned(f"/a?{door.once(ticket)}"), method=method) is reason


def test_ticket_and_presigned_method_must_agree(door: Any) -> None:
    """Signed as a GET with an upload ticket it is a mistake, and nothing is read to find that out."""
    assert door.why(door.presigned(f"/a?{door.once(Operation.PUT)}")) is Reason.METHOD_NOT_GRANTED
    assert door.why(door.presigned(f"/a?{door.once(Operation.PUT)}", method="PUT"), method="PUT") is None


@pytest.mark.parametrize(
    ("plain_links", "method", "reason"),
    [
        ("once", "GET", None),
        ("once", "HEAD", None),
        ("once", "PUT", Reason.METHOD_NOT_GRANTED),
        ("allow", "GET", None),
        ("allow", "PUT", Reason.METHOD_NOT_GRANTED),
        ("refuse", "GET", Reason.PLAIN_REFUSED),
        ("refuse", "PUT", Reason.PLAIN_REFUSED),
    ],
)
def test_a_plain_cloudfront_link_reads_only(door: Any, plain_links: str, method: str, reason: Reason | None) -> None:
    """Its signature does not cover the method: a download link of any signer would else take an upload."""
    assert door.why(door.canned("/a"), method=method, plain_links=plain_links) is reason


def test_only_allowed_plain_links_are_not_counted(door: Any) -> None:
    """``allow`` is CloudFront's own behaviour, without a ledger; a ticket is counted there too."""
    assert door.open(door.canned("/a")).is_counted
    assert not door.open(door.canned("/a"), plain_links="allow").is_counted
    assert door.open(door.canned(f"/a?{door.once()}"), plain_links="allow").is_counted
    assert door.open(door.canned("/a")).made_ms is None


@pytest.mark.parametrize(
    ("prefixes", "key", "is_granted"),
    [((), "in/a", False), (("in/",), "in/a", True), (("in/",), "inbox", False), (("x", "in/"), "in/a", True)],
)
def test_plain_links_may_put_beneath_the_prefixes_that_are_named(
    door: Any, prefixes: tuple[str, ...], key: str, *, is_granted: bool
) -> None:
    """For signers that know no tickets; everywhere else a PUT needs one."""
    reason = door.why(door.canned(f"/{key}"), method="PUT", plain_put=prefixes)
    assert reason is (None if is_granted else Reason.METHOD_NOT_GRANTED)


def test_a_plain_presigned_put_needs_no_prefix(door: Any) -> None:
    """Its method is signed."""
    assert door.open(door.presigned("/a", method="PUT"), method="PUT").operation is Operation.PUT


@pytest.mark.parametrize(
    "query", ["acl", "uploads", "uploadId=x&partNumber=1", "versionId=1", "list-type=2", "tagging=", "%61cl", "torrent"]
)
def test_s3_sub_resources_are_refused(door: Any, query: str) -> None:
    """They name a part, a version or a list: served as the whole object they would be something else than was signed."""
    assert door.why(door.presigned(f"/a?{query}")) is Reason.S3_UNSUPPORTED
    assert door.why(door.presigned("/a?x-id=GetObject")) is None


@pytest.mark.parametrize(
    ("bucket", "configured", "path", "key"),
    [
        ("", "", "/b/a", "b/a"),
        ("", "b", "/b/a", "a"),
        ("", "b", "/b/b/a", "b/a"),
        ("", "b", "/c/a", "c/a"),
        ("b", "b", "/a", "a"),
        ("b", "", "/a", "b/a"),
        ("c", "b", "/a", "c/a"),
    ],
)
def test_an_s3_links_key_begins_with_its_bucket_unless_that_is_the_one(
    door: Any, bucket: str, configured: str, path: str, key: str
) -> None:
    """SDKs put the bucket into the path or before the host; both must name one object."""
    origin = door.origin.replace("//", f"//{bucket}.") if bucket else door.origin
    s3 = door.s3
    signed = presign_url(
        origin + path,
        method="GET",
        access_key_id=s3.access_key_id,
        secret=s3.secret,
        region=s3.region,
        now_s=door.now_s,
        expires_in_s=60,
    )
    request = replace(door.request(signed), host="files.example.com", bucket=bucket)
    trust = replace(door.trust, s3_bucket=configured)
    assert verify(request, trust, now_s=door.now_s).object_key == key


@pytest.mark.parametrize("path", ["/", "/a/", "//a", "/a/../b", "/a%00", "/a%5Cb", "/%FF"])
def test_a_genuine_link_to_no_object_key_is_refused(door: Any, path: str) -> None:
    """Its signer made a mistake; a store would quietly serve something else for some of them."""
    for url in (door.canned(path), door.custom(path), door.presigned(path)):
        assert door.why(url) is Reason.OBJECT_KEY


# Limits.


def test_the_signed_limits_are_read(door: Any) -> None:
    """Decoded once; types in lower case."""
    query = f"{door.once(Operation.PUT)}&once-max=10000&once-type=Image%2F*&once-replace=1"
    for url in (door.canned(f"/a?{query}"), door.presigned(f"/a?{query}", method="PUT")):
        limits = door.open(url, method="PUT").limits
        assert limits == Limits(max_bytes=10_000, media_type="image/*", may_replace=True)
    shown = "response-content-type=text%2Fplain%3B%20charset%3Dutf-8&response-content-disposition=inline%3B%20x%3D%252B"
    limits = door.open(door.canned(f"/a?{shown}")).limits
    assert (limits.response_type, limits.disposition) == ("text/plain; charset=utf-8", "inline; x=%2B")


@pytest.mark.parametrize(
    "limit",
    [
        "once-max=",
        "once-max=-1",
        "once-max=01",
        "once-max=1e3",
        "once-max=10MB",
        "once-max=1000000000000000000",
        "once-max=1%30",
        "once-type=",
        "once-type=image",
        "once-type=*%2F*",
        "once-type=image%2F*x",
        "once-type=a%2Fb%3Bc",
        "once-type=%FF",
        "once-replace=0",
        "once-replace=",
        "once-replace=true",
        "once-delete=0",
        "once-delete=",
        "once-delete=1",
        "once-confirm=",
        "once-confirm=auto",
        "once-confirm=Always",
        "once-confirm=always",
        "once-from=",
        "once-from=a%0Ab",
        "once-from=a%C2%85b",
        f"once-from={'a' * (SENDER_MAX + 1)}",
        "once-note=",
        "once-note=%FF",
        f"once-note={'a' * (NOTE_MAX + 1)}",
        "response-content-type=a%0Ab",
        "response-content-disposition=%0D%0ASet-Cookie:x",
        "response-content-disposition=%00",
        "response-content-disposition=%7F",
        "response-content-disposition=%FF",
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_before_anything_is_claimed(door: Any, limit: str) -> None:
    """Kept, it would be no limit, or a second header; found out later, it would cost the use."""
    assert door.why(door.canned(f"/a?{door.once(Operation.PUT)}&{limit}"), method="PUT") is Reason.MALFORMED_LIMIT


def test_an_object_goes_with_a_download_link_to_one_key_that_has_a_ticket(door: Any) -> None:
    """Without a ticket, of an upload (above) and under a wildcard nobody could say which object goes, and when."""
    url = f"/a?{door.once()}&once-delete=1"
    assert door.open(door.canned(url)).limits.delete_after
    assert door.open(door.presigned(url)).limits.delete_after
    assert not door.open(door.canned(f"/a?{door.once()}")).limits.delete_after
    assert door.why(door.canned("/a?once-delete=1")) is Reason.MALFORMED_LIMIT
    assert door.why(door.canned(f"/a?{door.once()}&once-delete=2")) is Reason.MALFORMED_LIMIT
    assert door.why(door.canned(f"/a?{door.once()}") + "&once-delete=1") is Reason.BAD_SIGNATURE


def test_whether_a_person_is_asked_is_read_of_download_links(door: Any) -> None:
    """An upload link asks nobody: there it would be a wish that nothing keeps, as in the table above."""
    for value in ("always", "never"):
        url = f"/a?{door.once()}&once-confirm={value}"
        assert door.open(door.canned(url)).limits.confirm == value
        assert door.open(door.presigned(url)).limits.confirm == value
        assert door.why(door.canned(f"/a?{door.once()}") + f"&once-confirm={value}") is Reason.BAD_SIGNATURE
    assert door.why(door.canned(f"/a?{door.once()}&once-confirm=Always")) is Reason.MALFORMED_LIMIT


def test_texts_for_people_have_their_length(door: Any) -> None:
    """Both sides: one character more is refused above."""
    url = f"/a?{door.once()}&once-from={'a' * SENDER_MAX}&once-note={'b' * NOTE_MAX}"
    limits = door.open(door.canned(url)).limits
    assert (limits.sender, limits.note) == ("a" * SENDER_MAX, "b" * NOTE_MAX)


def test_the_largest_size_limit_has_18_digits(door: Any) -> None:
    """Both sides: one digit more would not fit 63 bits everywhere."""
    url = door.canned(f"/a?{door.once(Operation.PUT)}&once-max={'9' * 18}")
    assert door.open(url, method="PUT").limits.max_bytes == 10**18 - 1


# Everything else.


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_request_is_granted_or_refused_and_nothing_else_happens(door: Any, seed: int) -> None:
    """Genuine links with bytes changed, taken out, doubled and mixed: an exception would be a 500 for the asking."""
    rnd = random.Random(seed)
    once = door.once(uses=2)
    urls = [
        door.canned(f"/dir/a?{once}"),
        door.canned("/dir/a%20b?x=1&response-content-disposition=inline"),
        door.custom(f"/dir/a?{once}", resource=f"{door.origin}/dir/*?{once}"),
        door.custom("/dir/a", source_ip="203.0.113.0/24", not_before_s=1),
        door.presigned(f"/dir/a?{once}"),
        door.presigned("/dir/a?x=1"),
    ]
    targets = [parse_url(url) for url in urls]
    pieces = [piece for target in targets for piece in target.query.split(b"&")] + [
        b"once=g.x",
        b"X-Amz-Date=99991231T235959Z",
        b"X-Amz-Expires=604800",
        b"Expires=9223372036854775807",
        b"Policy=e30_",
        b"Key-Pair-Id=",
        b"%",
    ]
    ended = {"granted": 0, "refused": 0}
    for _ in range(FUZZED // 4):
        target = rnd.choice(targets)
        path, query = bytearray(target.path), target.query
        if rnd.random() < 0.3:
            segments = query.split(b"&")
            segments.insert(rnd.choice((0, len(segments))), rnd.choice(pieces))
            if rnd.random() < 0.5:
                segments.pop(rnd.randrange(len(segments)))
            query = b"&".join(segments)
        text = bytearray(query)
        for _ in range(rnd.choice((0, 1, 1, 3))):
            where = rnd.choice((path, text)) if rnd.random() < 0.3 else text
            if not where:
                continue
            at = rnd.randrange(len(where))
            where[at : at + rnd.choice((0, 1))] = rnd.choice(
                (bytes([rnd.randrange(256)]), b"%", b"&", b"=", b"%FF", b"")
            )
        request = replace(
            door.request(door.origin),
            method=rnd.choice(("GET", "GET", "HEAD", "PUT")),
            path=b"/" + bytes(path).lstrip(b"/"),
            query=bytes(text),
        )
        try:
            grant = verify(request, door.trust, now_s=door.now_s)
        except Refused:
            ended["refused"] += 1
        else:
            assert grant.object_key
            ended["granted"] += 1
    assert ended["granted"] > FUZZED / 100
    assert ended["refused"] > FUZZED / 10
