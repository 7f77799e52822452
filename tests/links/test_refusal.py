"""The one table of refusals, and bodies that are well-formed whatever a holder puts into them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.links.refusal import TABLE, Reason, Refused, Style, xml_body

texts = st.text(st.characters(), max_size=30)


def test_every_reason_has_a_row_and_every_row_a_reason() -> None:
    """A missing row would be a KeyError while an error is being answered."""
    assert set(TABLE) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_row_is_an_error_with_a_code_and_words(reason: Reason) -> None:
    """Statuses are HTTP's for errors, codes are one word, and somebody can be told what is the matter."""
    row, refused = TABLE[reason], Refused(reason)
    assert 400 <= row.status <= 507
    assert row.code.isidentifier()
    assert refused.words
    assert refused.message == row.message
    assert str(refused) == reason.value


def test_what_would_help_a_guesser_has_one_body() -> None:
    """Wrong resource, wrong signature, unsigned ticket, wrong method: a stranger cannot tell them apart."""
    alike = [reason for reason, row in TABLE.items() if row.style is Style.CLOUDFRONT and row.code == "AccessDenied"]
    bodies = {xml_body(Refused(reason), style=Style.S3, request_id="1") for reason in alike}
    assert len(bodies) == 1
    assert {Reason.BAD_SIGNATURE, Reason.RESOURCE_MISMATCH, Reason.METHOD_NOT_GRANTED, Reason.EXPIRED} <= set(alike)


def test_a_spent_link_is_refused_in_the_form_of_its_scheme() -> None:
    """Whoever holds an S3 link has a client that reads S3's form."""
    for style, media_type in ((Style.S3, "application/xml"), (Style.CLOUDFRONT, "text/xml")):
        found, body = xml_body(Refused(Reason.USED), style=style, request_id="1")
        assert found == media_type
        assert ET.fromstring(body).findtext("Code") == "AccessDenied"
        assert ET.fromstring(body).findtext("Message") == "This link has been used."


@given(
    reason=st.sampled_from(Reason),
    message=texts,
    values=st.lists(texts, max_size=3),
    style=st.sampled_from([Style.S3, Style.CLOUDFRONT]),
)
def test_a_body_is_well_formed_whatever_stands_in_it(
    reason: Reason, message: str, values: list[str], style: Style
) -> None:
    """S3's messages repeat parts of the request: markup, control characters, half a surrogate pair."""
    members = tuple((f"Member{i}", value) for i, value in enumerate(values))
    refused = Refused(reason, message=message, members=members)
    media_type, body = xml_body(refused, style=style, request_id="0123")
    root = ET.fromstring(body)
    assert root.tag == "Error"
    assert root.findtext("Code") == TABLE[reason].code
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    assert not body.endswith(b"\n")
    if media_type == "application/xml":
        assert [child.tag for child in root] == ["Code", "Message", *dict(members), "RequestId", "HostId"]
    else:
        assert [child.tag for child in root] == ["Code", "Message"]
        assert b"\n" not in body


def test_a_hint_never_reaches_a_body() -> None:
    """It is for the issuer: it may name what the policy is for."""
    for style in (Style.S3, Style.CLOUDFRONT):
        body = xml_body(Refused(Reason.BAD_SIGNATURE, hint="the secret hint"), style=style, request_id="1")[1]
        assert b"hint" not in body
