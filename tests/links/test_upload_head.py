"""What an upload's head must say: a length, a body that is the object, and a type that its link takes."""

from __future__ import annotations

import pytest

from oncegate.links.grant import NO_LIMITS
from oncegate.links.kept_headers import KEPT_MAX_BYTES, kept_headers, type_to_keep
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import accepted_type, read_upload_head


def put(**headers: str | bytes) -> ViewerRequest:
    """A PUT with these headers; ``content_type`` is Content-Type."""
    pairs = (
        (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in headers.items()
    )
    return ViewerRequest(method="PUT", scheme="https", host="h", path="/k", headers=tuple(pairs))


@pytest.mark.parametrize(
    ("given", "wanted", "name", "found"),
    [
        ("image/jpg", "image/jpeg", "a", "image/jpg"),
        ("image/jpeg", "image/jpg", "a", "image/jpeg"),
        ("image/x-png", "image/png", "a", "image/x-png"),
        ("application/x-zip-compressed", "application/zip", "a", "application/x-zip-compressed"),
        ("audio/mp3", "audio/mpeg", "a", "audio/mp3"),
        ("audio/x-wav", "audio/vnd.wave", "a", "audio/x-wav"),
        ("video/avi", "video/x-msvideo", "a", "video/avi"),
        ("text/xml; charset=utf-8", "application/xml", "a", "text/xml"),
        ("image/png", "image/jpeg", "a.jpg", None),
        ("", "image/*", "in/scan.PNG", "image/png"),
        ("application/octet-stream", "image/png", "scan.png", "image/png"),
        ("application/octet-stream", "application/octet-stream", "scan.png", "application/octet-stream"),
        ("", "image/*", "scan", None),
        ("", "image/*", "scan.pdf", None),
        ("text/plain", "image/*", "scan.png", None),
        ("multipart/form-data; boundary=x", None, "a", None),
        ("Multipart/Form-Data", "multipart/form-data", "a", "multipart/form-data"),
        ("multipart/form-data", "multipart/*", "a", "multipart/form-data"),
        ("multipart/related", None, "a", "multipart/related"),
        ("", None, "a.png", ""),
    ],
)
def test_a_link_takes_its_type_under_each_name_of_it(
    given: str, wanted: str | None, name: str, found: str | None
) -> None:
    """Browsers differ in what they call a type, and send none of files they do not know: then the suffix tells it."""
    assert accepted_type(given, wanted, name) == found


def test_a_put_without_length_and_chunks_has_no_body() -> None:
    """411, since its sender believes that they sent one; with either it may begin."""
    with pytest.raises(Refused) as caught:
        read_upload_head(put(), NO_LIMITS, key="k", max_bytes=10)
    assert caught.value.reason is Reason.LENGTH_NEEDED
    for headers in ({"content_length": "0"}, {"transfer_encoding": "chunked"}):
        assert read_upload_head(put(**headers), NO_LIMITS, key="k", max_bytes=10).max_bytes == 10


@pytest.mark.parametrize(
    ("given", "key", "is_signed", "kept"),
    [
        ("Text/CSV; Charset=Latin1", "k", False, "text/csv; Charset=Latin1"),
        ("text/csv;", "k", False, "text/csv"),
        ("text/csv; a=\u00e9", "k", False, "text/csv"),
        ("anything at all", "k.png", False, "image/png"),
        ("", "k.png", False, "image/png"),
        ("", "k", False, "application/octet-stream"),
        ("application/x-www-form-urlencoded", "k.txt", False, "text/plain"),
        ("application/x-www-form-urlencoded", "k.txt", True, "application/x-www-form-urlencoded"),
        ("application/octet-stream", "k.txt", True, "application/octet-stream"),
    ],
)
def test_the_type_of_an_upload_is_kept_as_it_was_sent(given: str, key: str, is_signed: bool, kept: str) -> None:
    """What programs send that know no type is no choice of anybody's, unless it is signed."""
    request = put(content_type=given, content_length="1")
    head = read_upload_head(request, NO_LIMITS, key=key, max_bytes=10)
    assert type_to_keep(request, head, key=key, is_signed=is_signed) == kept


def test_headers_that_belong_to_an_object_are_kept() -> None:
    """Those and no others, with a disposition's name in ASCII."""
    request = put(
        content_encoding="gzip",
        x_amz_meta_a="b",
        x_amz_acl="private",
        user_agent="x",
        content_disposition="inline; filename=Müller.pdf",
    )
    assert kept_headers(request) == (
        ("content-encoding", "gzip"),
        ("x-amz-meta-a", "b"),
        ("content-disposition", "inline; filename=\"M_ller.pdf\"; filename*=UTF-8''M%C3%BCller.pdf"),
    )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (put(x_amz_meta_a="b" * KEPT_MAX_BYTES), Reason.METADATA_TOO_LARGE),
        (put(cache_control="b" * KEPT_MAX_BYTES), Reason.METADATA_TOO_LARGE),
        (put(x_amz_meta_a="\u00e9"), Reason.MALFORMED_UPLOAD),
        (put(content_language=b"\xff"), Reason.MALFORMED_UPLOAD),
        (put(content_disposition=b"inline; filename=\xff"), Reason.MALFORMED_UPLOAD),
        (put(x_amz_meta_="b"), Reason.MALFORMED_UPLOAD),
    ],
)
def test_a_header_that_no_store_could_keep_is_refused(request_: ViewerRequest, reason: Reason) -> None:
    """Before a byte of the body: cut or changed, it would be another header than was sent."""
    with pytest.raises(Refused) as caught:
        kept_headers(request_)
    assert caught.value.reason is reason


def test_metadata_has_the_limit_of_s3() -> None:
    """2,048 bytes of names and values, without the prefix."""
    assert kept_headers(put(x_amz_meta_a="b" * (KEPT_MAX_BYTES - 1))) != ()
