"""Links made here: each verifies as what was wished, or is refused before it is made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.links.disposition import content_disposition
from oncegate.links.grant import Limits, Operation, Scheme
from oncegate.links.issue import FILENAME_MAX, S3Issuer, Wish, end_of, make_link, url_to_sign
from oncegate.links.policy import EPOCH_MAX_S
from oncegate.links.refusal import Reason
from oncegate.links.ticket import Ticket
from oncegate.links.urls import object_key_problem
from oncegate.links.verify import NOTE_MAX, SENDER_MAX, SIZE_MAX_BYTES, verify


def wish(door: Any, operation: Operation = Operation.GET, **changes: Any) -> Wish:
    """A usual wish."""
    usual: dict[str, Any] = {
        "object_key": "a",
        "ticket": Ticket(operation=operation, uses=1, nonce=door.nonce),
        "expires_s": door.now_s + 60,
    }
    return Wish(**(usual | changes))


def make(door: Any, wished: Wish) -> str:
    """Sign with the door's keys."""
    return make_link(wished, public_url=door.origin, key=door.key, s3=door.s3, now_s=door.now_s)


keys = st.text(min_size=1, max_size=30).filter(lambda key: not object_key_problem(key))
names = st.text(
    st.characters(codec="utf-8", exclude_characters="".join(map(chr, [*range(32), 127]))), min_size=1, max_size=40
)


@settings(max_examples=200, deadline=None)
@given(
    key=keys,
    filename=st.none() | names.filter(lambda name: name not in (".", "..") and not {*name} & {"/", "\\"}),
    inline=st.booleans(),
    uses=st.integers(1, 9999),
    scheme=st.sampled_from(Scheme),
)
def test_a_download_link_verifies_as_what_was_wished(
    door: Any, *, key: str, filename: str | None, inline: bool, uses: int, scheme: Scheme
) -> None:
    """Whatever the key and the name hold; escaped once too often or too seldom it would be another object."""
    ticket = Ticket(operation=Operation.GET, uses=uses, nonce=door.nonce)
    wished = wish(door, object_key=key, ticket=ticket, filename=filename, inline=inline, scheme=scheme)
    grant = door.open(make(door, wished))
    assert (grant.object_key, grant.uses, grant.link_id, grant.scheme) == (key, uses, door.nonce, scheme)
    assert grant.expires_s == wished.expires_s + (scheme is Scheme.S3)
    disposition = grant.limits.disposition
    if filename is None and not inline:
        assert disposition is None
    else:
        assert disposition == content_disposition("inline" if inline else "attachment", filename)


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("media_type", [None, "image/*", "Application/PDF"])
def test_an_upload_link_verifies_as_what_was_wished(door: Any, scheme: Scheme, media_type: str | None) -> None:
    """With a ``*`` in the type, which must not become a wildcard of a policy."""
    wished = wish(door, Operation.PUT, max_bytes=10, media_type=media_type, may_replace=True, scheme=scheme)
    grant = door.open(make(door, wished), method="PUT")
    expected = media_type.lower() if media_type else None
    assert grant.limits == Limits(max_bytes=10, media_type=expected, may_replace=True)
    assert grant.operation is Operation.PUT


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("operation", list(Operation))
def test_what_is_for_people_comes_back_as_it_was_wished(door: Any, scheme: Scheme, operation: Operation) -> None:
    """Text of any script and length fits, and none of its characters becomes a wildcard or another parameter."""
    confirm = "always" if operation is Operation.GET else None
    words = {"sender": "Ä & ü=*?" * 12, "note": "\N{PARTY POPPER}" * NOTE_MAX}
    grant = door.open(make(door, wish(door, operation, confirm=confirm, scheme=scheme, **words)), method=operation.name)
    assert (grant.limits.confirm, grant.limits.sender, grant.limits.note) == (confirm, *words.values())


def test_a_start_or_a_source_makes_the_policy_custom(door: Any) -> None:
    """A canned policy has room for neither; dropping one in silence would open the link wider."""
    start = door.open(make(door, wish(door, not_before_s=door.now_s)), now_s=door.now_s + 1)
    source = door.open(make(door, wish(door, source_ip="203.0.113.0/24")))
    assert start.scheme is source.scheme is Scheme.CUSTOM
    assert door.open(make(door, wish(door))).scheme is Scheme.CANNED


def test_the_bucket_stands_before_the_key_of_an_s3_link_only(door: Any) -> None:
    """SDKs and tools read the first segment as the bucket."""
    s3 = S3Issuer(access_key_id="AKID", secret="a secret", region="eu-central-1", bucket="box")
    wished = wish(door, scheme=Scheme.S3)
    url = make_link(wished, public_url=door.origin, key=None, s3=s3, now_s=door.now_s)
    assert url.startswith(f"{door.origin}/box/a?once=")
    assert door.open(url, s3_bucket="box").object_key == "a"
    assert url_to_sign(door.origin, wished).startswith(f"{door.origin}/a?once=")


@given(names)
def test_a_file_name_comes_back_from_its_header(filename: str) -> None:
    """Plain text as it is, in quotes; everything else as RFC 8187 has it, decoded here by hand."""
    line = content_disposition("attachment", filename)
    plain, has_more, encoded = line.rpartition("; filename*=UTF-8''")
    if not has_more or line.endswith('"'):
        assert line == f'attachment; filename="{filename}"'
        return
    assert plain.startswith('attachment; filename="')
    assert bytes.fromhex(_hex(encoded)).decode() == filename


def _hex(encoded: str) -> str:
    """Decode RFC 8187's percent-encoding by hand."""
    text, at = "", 0
    while at < len(encoded):
        is_escape = encoded[at] == "%"
        text += encoded[at + 1 : at + 3] if is_escape else f"{ord(encoded[at]):02x}"
        at += 3 if is_escape else 1
    return text


@given(names)
def test_a_disposition_is_one_header_line_of_plain_ascii(filename: str) -> None:
    """A quote, a backslash or a line break in a name must not end the value or the header."""
    line = content_disposition("attachment", filename)
    assert line.isascii()
    assert line.isprintable()
    quoted = line.partition('filename="')[2].partition('"')[0]
    assert "\\" not in quoted
    assert line.count('"') == 2


@pytest.mark.parametrize(
    ("operation", "changes", "message"),
    [
        (Operation.GET, {"object_key": ""}, "empty"),
        (Operation.GET, {"object_key": "/a"}, "slash"),
        (Operation.GET, {"object_key": "a\n"}, "control"),
        (Operation.GET, {"object_key": "\udcff"}, "UTF-8"),
        (Operation.GET, {"object_key": "a" * 1025}, "longer"),
        (Operation.GET, {"max_bytes": 1}, "upload links"),
        (Operation.GET, {"media_type": "a/b"}, "upload links"),
        (Operation.GET, {"may_replace": True}, "upload links"),
        (Operation.PUT, {"filename": "a"}, "download links"),
        (Operation.PUT, {"inline": True}, "download links"),
        (Operation.GET, {"filename": "a\nb"}, "control character"),
        (Operation.GET, {"filename": "a/b"}, "one file"),
        (Operation.GET, {"filename": "a\\b"}, "one file"),
        (Operation.GET, {"filename": ".."}, "one file"),
        (Operation.GET, {"filename": "."}, "one file"),
        (Operation.GET, {"filename": "a" * (FILENAME_MAX + 1)}, "longer than 255"),
        (Operation.PUT, {"confirm": "always"}, "download links"),
        (Operation.PUT, {"delete_after": True}, "download links"),
        (Operation.GET, {"sender": ""}, "one line of at most 100"),
        (Operation.GET, {"sender": "a" * (SENDER_MAX + 1)}, "one line of at most 100"),
        (Operation.PUT, {"note": "a\nb"}, "one line of at most 200"),
        (Operation.GET, {"note": "a" * (NOTE_MAX + 1)}, "one line of at most 200"),
        (Operation.GET, {"note": "\udcff"}, "one line of at most 200"),
        (Operation.PUT, {"max_bytes": -1}, "18 digits"),
        (Operation.PUT, {"max_bytes": SIZE_MAX_BYTES + 1}, "18 digits"),
        (Operation.PUT, {"media_type": "image"}, "no media type"),
        (Operation.PUT, {"media_type": "*/*"}, "no media type"),
        (Operation.PUT, {"media_type": ""}, "no media type"),
        (Operation.PUT, {"media_type": "text/plain; charset=utf-8"}, "no media type"),
        (Operation.GET, {"expires_s": -1}, "expiry"),
        (Operation.GET, {"expires_s": EPOCH_MAX_S + 1}, "expiry"),
    ],
)
def test_a_wish_that_no_viewer_could_grant_is_refused(
    door: Any, operation: str, changes: dict[str, Any], message: str
) -> None:
    """The issuer hears it at once; a link is sent to somebody who cannot do anything about it."""
    with pytest.raises(ValueError, match=message):
        wish(door, operation, **changes)


def test_at_the_limits_a_link_still_verifies(door: Any) -> None:
    """The longest key and name, the largest size and expiry; a policy that would not be read is not signed."""
    key, name = "\u00e9" * 512, "\U0001f4a9" * FILENAME_MAX
    grant = door.open(make(door, wish(door, object_key=key, filename=name)))
    assert (grant.object_key, grant.limits.disposition) == (key, content_disposition("attachment", name))
    assert door.open(make(door, wish(door, expires_s=EPOCH_MAX_S))).expires_s == EPOCH_MAX_S
    largest = make(door, wish(door, Operation.PUT, max_bytes=SIZE_MAX_BYTES))
    assert door.open(largest, method="PUT").limits.max_bytes == SIZE_MAX_BYTES
    with pytest.raises(ValueError, match="policy is longer than"):
        make(door, wish(door, object_key=key, filename=name, scheme=Scheme.CUSTOM))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": Scheme.S3, "not_before_s": 1}, "neither a start"),
        ({"scheme": Scheme.S3, "source_ip": "192.0.2.1"}, "neither a start"),
        ({"scheme": Scheme.S3, "expires_s": 2_000_000_000}, "7 days"),
        ({"source_ip": "2001:db8::/32"}, "2001:db8"),
        ({"source_ip": "192.0.2.1/99"}, "192.0.2.1/99|99"),
    ],
)
def test_a_scheme_that_cannot_hold_the_wish_refuses_it(door: Any, changes: dict[str, Any], message: str) -> None:
    """Signing without the condition would open the link wider than was asked."""
    with pytest.raises(ValueError, match=message):
        make(door, wish(door, **changes))


@pytest.mark.parametrize(("scheme", "message"), [(Scheme.S3, "access key"), (Scheme.CANNED, "signing key")])
def test_without_a_key_there_is_no_link(door: Any, scheme: Scheme, message: str) -> None:
    """The message names what to configure."""
    with pytest.raises(ValueError, match=message):
        make_link(wish(door, scheme=scheme), public_url=door.origin, key=None, s3=None, now_s=door.now_s)


def test_a_link_is_verified_under_its_own_host_only(door: Any) -> None:
    """The public URL is part of what is signed."""
    url = make(door, wish(door)).replace("files.example.com", "evil.example.com")
    with pytest.raises(Exception, match="bad-signature"):
        verify(door.request(url), door.trust, now_s=door.now_s)


def test_a_link_opens_at_one_second_at_least(door: Any) -> None:
    """It is refused at the second of its start and at the second of its end: one second must be left between them."""
    end_s = door.now_s + 60
    with pytest.raises(ValueError, match="could never be opened"):
        wish(door, expires_s=end_s, not_before_s=end_s - 1)
    url = make(door, wish(door, expires_s=end_s, not_before_s=end_s - 2))
    assert door.why(url, now_s=end_s - 2) is Reason.NOT_YET_VALID
    assert door.why(url, now_s=end_s - 1) is None
    assert door.why(url, now_s=end_s) is Reason.EXPIRED


@pytest.mark.parametrize(
    ("asked", "end_s"),
    [
        ({}, 3_600),
        ({"max_lifetime_s": 60}, 60),
        ({"lifetime_s": 1}, 1),
        ({"lifetime_s": 604_800}, 604_800),
        ({"expires_s": 1_001}, 1),
        ({"expires_s": 605_800}, 604_800),
    ],
)
def test_a_link_ends_when_it_was_asked_to(asked: dict[str, int], end_s: int) -> None:
    """After an hour where nothing was asked for, but never later than links may live here."""
    assert end_of(**({"now_s": 1_000, "max_lifetime_s": 604_800} | asked)) == 1_000 + end_s


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"lifetime_s": 604_801}, "at most 604800 seconds"),
        ({"lifetime_s": 365 * 86_400}, "at most 604800 seconds"),
        ({"expires_s": 605_801}, "at most 604800 seconds"),
        ({"expires_s": 1_000}, "in the past"),
        ({"lifetime_s": 0}, "in the past"),
        ({"expires_s": 2_000, "lifetime_s": 60}, "not both"),
    ],
)
def test_no_link_lives_longer_than_a_retired_key_waits(asked: dict[str, int], words: str) -> None:
    """One function for every door: the command line refused what a program could sign with the same package."""
    with pytest.raises(ValueError, match=words):
        end_of(**({"now_s": 1_000, "max_lifetime_s": 604_800} | asked))
