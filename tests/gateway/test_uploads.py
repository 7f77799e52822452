"""Uploads by real requests: what stands is exactly what was sent, once, or nothing stands at all."""

import base64
import hashlib
import os
import secrets
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import google_crc32c
import pytest
from awscrt.checksums import crc64nvme

from homes import Home
from oncegate.gateway.checksums import Checksums
from oncegate.links.cloudfront import sign_url
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.uses.use import revoke

MIB = 1024 * 1024
HOST = "127.0.0.1"


def assert_nothing_left(home, url):
    """Neither an object nor anything staged, and the link opens as if nothing had happened."""
    assert home.stands(url) is None
    staging = home.objects / ".oncegate" / "staging"
    assert not staging.exists() or not list(staging.iterdir())
    assert ask("PUT", url, body=b"afterwards").status == 200
    assert home.stands(url) == b"afterwards"


def start_put(url, headers, first=b""):
    """An upload of which the rest is still to come."""
    connection = RawConnection(url)
    connection.send_request("PUT", target_of(url), host=url[7:].partition("/")[0], headers=headers)
    connection.send(first)
    return connection


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 300_001, 5 * MIB])
def test_what_stands_is_what_was_sent(gateway: Home, size_bytes: int) -> None:
    """200 with the ETag that a later download will show; the object is byte for byte what was sent, folders and all."""
    data = os.urandom(size_bytes)
    url = gateway.upload(f"deep/{secrets.token_hex(4)}/er/file.bin")
    answer = ask("PUT", url, body=data)
    assert (answer.status, answer.body_bytes) == (200, 0)
    assert gateway.stands(url) == data
    key = url.partition("?")[0].removeprefix(gateway.public_url + "/")
    assert ask("GET", gateway.link(key)).header("etag") == answer.header("etag")


def test_chunked_body_is_taken(gateway: Home) -> None:
    """A body of unknown length is as good as any; curl -T - sends one."""
    url = gateway.upload()
    with start_put(url, {"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") as connection:
        assert connection.read_answer().status == 200
    assert gateway.stands(url) == b"hello world"


@pytest.mark.parametrize("uses", [1, 2])
def test_used_link_says_so_whether_or_not_an_object_stands(gateway: Home, uses: int) -> None:
    """It said that an object stands there: true, and no reason, for taking it away changes nothing (T46)."""
    url = gateway.upload(uses=uses)
    path = gateway.objects / url.partition("?")[0].removeprefix(gateway.public_url + "/")
    for _ in range(uses):
        assert ask("PUT", url, body=b"first").status == 200
        if uses > 1:
            path.unlink(missing_ok=True)
    before = gateway.record(url)
    path.write_bytes(b"first")
    again = ask("PUT", url, body=b"second")
    assert (again.status, "This link has been used." in again.text) == (403, True)
    assert (gateway.record(url), gateway.stands(url)) == (before, b"first")


def test_upload_where_an_object_stands_is_412_and_changes_nothing(gateway: Home) -> None:
    """Of a link that has a use left: refused with S3's code, and not spent."""
    url = gateway.upload(uses=3)
    assert ask("PUT", url, body=b"first").status == 200
    again = ask("PUT", url, body=b"second")
    assert again.status == 412
    assert "<Code>PreconditionFailed</Code>" in again.text
    assert gateway.stands(url) == b"first"


def test_spent_upload_link_is_refused_though_the_object_is_gone(gateway: Home) -> None:
    """The use is in the ledger, not in the store: taking the object away does not bring the link back."""
    url = gateway.upload()
    assert ask("PUT", url, body=b"first").status == 200
    (gateway.objects / url.partition("?")[0].removeprefix(gateway.public_url + "/")).unlink()
    again = ask("PUT", url, body=b"second")
    assert again.status == 403
    assert "This link has been used." in again.text
    assert gateway.stands(url) is None


def test_upload_while_another_runs_is_409(gateway: Home, until: Callable[..., Any]) -> None:
    """The lease spares the second one the work: 409 and when to come again; the first is not disturbed."""
    url = gateway.upload()
    with start_put(url, {"Content-Length": "10"}, b"01234") as connection:
        until(lambda: gateway.record(url), "the lease is taken")
        other = ask("PUT", url, body=b"other")
        assert (other.status, int(other.header("retry-after")) > 0) == (409, True)
        assert gateway.stands(url) is None
        connection.send(b"56789")
        assert connection.read_answer().status == 200
    assert gateway.stands(url) == b"0123456789"


def test_download_link_does_not_upload_and_the_other_way_round(gateway: Home) -> None:
    """Operation and method must agree: a download link may not overwrite, an upload link shows nothing."""
    down = gateway.fresh(b"x")
    assert ask("PUT", down, body=b"y").status == 403
    up = gateway.upload()
    assert ask("GET", up).status == 403
    assert ask("HEAD", up).status == 403
    assert ask("GET", down).body == b"x"
    assert_nothing_left(gateway, up)


def test_revoked_upload_link_is_refused(gateway: Home) -> None:
    """Revoking holds for uploads as well."""
    url = gateway.upload()
    gateway.change_record(url, revoke)
    assert ask("PUT", url, body=b"x").status == 403
    assert gateway.stands(url) is None


def test_body_as_large_as_allowed_is_taken(gateway: Home) -> None:
    """``once-max`` is a number of bytes that is still good."""
    url = gateway.upload(max_bytes=100)
    assert ask("PUT", url, body=b"x" * 100).status == 200


def test_announced_body_that_is_too_large_is_413_at_once(gateway: Home) -> None:
    """From Content-Length alone, before a byte is taken."""
    url = gateway.upload(max_bytes=100)
    answer = ask("PUT", url, body=b"x" * 101)
    assert answer.status == 413
    assert "<Code>EntityTooLarge</Code>" in answer.text
    assert gateway.record(url) is None
    assert_nothing_left(gateway, url)


def test_chunked_body_that_grows_too_large_is_413(gateway: Home, until: Callable[..., Any]) -> None:
    """A body without a length is counted as it comes: byte 101 ends it, and nothing of it stands."""
    url = gateway.upload(max_bytes=100)
    with start_put(url, {"Transfer-Encoding": "chunked"}, b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n") as connection:
        assert connection.read_answer().status == 413
    until(lambda: gateway.record(url).lease is None, "the lease is let go")
    assert_nothing_left(gateway, url)


def test_configured_limit_holds_for_every_link(gateway_with: Callable[..., Home]) -> None:
    """``max_upload`` is for links that say nothing of a size, and for those that say more."""
    home = gateway_with(viewer={"max_upload": "1KB"})
    assert ask("PUT", home.upload(), body=b"x" * 5000).status == 413
    assert ask("PUT", home.upload(max_bytes=10_000), body=b"x" * 5000).status == 413
    assert ask("PUT", home.upload(), body=b"x" * 900).status == 200


def test_refused_large_upload_still_gets_its_answer(gateway: Home) -> None:
    """A client that writes 20 MB before it reads must find the 413 and not a broken pipe alone."""
    url = gateway.upload(max_bytes=100)
    body = bytes(900_000)
    with RawConnection(url) as connection:
        connection.send_request("PUT", target_of(url), host=gateway.public_url[7:], body=body)
        assert connection.read_answer().status == 413
    large = ask("PUT", url, body=bytes(20 * MIB))
    assert large.status == 413
    assert_nothing_left(gateway, url)


def test_expect_continue_is_refused_before_the_body(
    gateway: Home, within: Callable[[float], AbstractContextManager[None]]
) -> None:
    """A client asks before it sends a large file: a refusal comes instead of 100, at once, and no byte is sent in vain."""
    url = gateway.upload(max_bytes=100)
    with (
        within(0.9),  # it does not wait for a body that nobody asked for
        start_put(url, {"Content-Length": str(50 * MIB), "Expect": "100-continue"}) as connection,
    ):
        head = connection.read_head()
    assert head.status == 413
    assert_nothing_left(gateway, url)


def test_expect_continue_is_answered_where_the_upload_is_welcome(gateway: Home) -> None:
    """100 comes when the body is wanted, so that curl does not wait a second for nothing."""
    url = gateway.upload()
    with start_put(url, {"Content-Length": "5", "Expect": "100-continue"}) as connection:
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_head().status == 200
    assert gateway.stands(url) == b"hello"


@pytest.mark.parametrize(
    ("allowed", "sent", "status"),
    [
        ("image/*", "image/png", 200),
        ("image/*", "IMAGE/JPEG; q=1", 200),
        ("image/*", "text/plain", 415),
        ("image/*", "image", 415),
        ("image/*", "imagex/png", 415),
        ("image/*", None, 415),
        ("text/csv", "text/csv; charset=utf-8", 200),
        ("text/csv", "text/html", 415),
        (None, "anything at all", 200),
    ],
)
def test_type_is_the_one_that_the_link_names(gateway: Home, allowed: str | None, sent: str | None, status: int) -> None:
    """``once-type`` names one type or a family of them; another is 415, and the link works afterwards."""
    url = gateway.upload(media_type=allowed)
    assert ask("PUT", url, {"Content-Type": sent} if sent else {}, body=b"x").status == status
    assert (gateway.stands(url) is None) == (status != 200)


BODY = b"what was sent is what must stand"


def b64(digest):
    """As S3 writes checksums."""
    return base64.b64encode(digest).decode()


SHA256 = hashlib.sha256(BODY)
CHECKSUMS = {
    "Content-MD5": b64(hashlib.md5(BODY).digest()),
    "x-amz-checksum-sha256": b64(SHA256.digest()),
    "x-amz-checksum-sha1": b64(hashlib.sha1(BODY).digest()),
    "x-amz-checksum-crc32": b64(zlib.crc32(BODY).to_bytes(4)),
    "x-amz-checksum-crc32c": b64(google_crc32c.value(BODY).to_bytes(4)),
    "x-amz-checksum-crc64nvme": b64(crc64nvme(BODY).to_bytes(8)),
    "x-amz-content-sha256": SHA256.hexdigest(),
    "Content-Digest": f"sha-256=:{b64(SHA256.digest())}:",
    "Repr-Digest": f"sha-256=:{b64(SHA256.digest())}:",
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_checksum_that_fits_is_taken_and_another_stores_nothing(gateway: Home, name: str) -> None:
    """What an upload says of its content must be true of what came, else nothing stands and the link is free."""
    url = gateway.upload()
    wrong = ask("PUT", url, {name: CHECKSUMS[name]}, body=BODY[:-1] + b"!")
    assert wrong.status == 400
    assert "<Code>BadDigest</Code>" in wrong.text
    assert gateway.stands(url) is None
    assert ask("PUT", url, {name: CHECKSUMS[name]}, body=BODY).status == 200
    assert gateway.stands(url) == BODY


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-MD5": "AAAA"},
        {"Content-MD5": "not base64!"},
        {"x-amz-checksum-crc64nvme": "AAAA"},
        {"Content-Digest": "sha-512=:AAAA:"},
        {"Content-Range": "bytes 0-4/10"},
        {"Content-Encoding": "aws-chunked"},
        {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"},
        {"x-amz-copy-source": "/other/object"},
    ],
)
def test_upload_of_a_form_that_is_not_known_is_400(gateway: Home, headers: dict[str, str]) -> None:
    """A checksum nobody checks would be a promise; a part, a copy or a signed stream would be stored as what it is not."""
    url = gateway.upload()
    assert ask("PUT", url, headers, body=b"hello").status == 400
    assert gateway.record(url) is None
    assert_nothing_left(gateway, url)


@pytest.mark.parametrize("name", ["x-amz-checksum-md5", "x-amz-checksum-of-next-year"])
def test_checksum_of_an_unknown_kind_is_501_with_its_name(gateway: Home, name: str) -> None:
    """SDKs learn new algorithms every year; one that is passed over would be a promise that nobody keeps."""
    url = gateway.upload()
    answer = ask("PUT", url, {name: "AAAA"}, body=b"hello")
    assert (answer.status, f"<Header>{name}</Header>" in answer.text) == (501, True)
    assert gateway.record(url) is None


@pytest.mark.parametrize(("name", "module"), [("crc32c", "google_crc32c"), ("crc64nvme", "awscrt.checksums")])
def test_checksum_whose_library_is_missing_is_501_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    """Without the extra: named, with what to install, before a byte of the body is taken."""
    monkeypatch.setitem(sys.modules, module, None)
    request = ViewerRequest(
        method="PUT", scheme="http", host="h", path="/k", headers=((f"x-amz-checksum-{name}".encode(), b"AAAA"),)
    )
    with pytest.raises(Refused, match="not-implemented") as caught:
        Checksums(request)
    assert f"x-amz-checksum-{name} (pip install 'oncegate[checksums]'" in caught.value.message


def test_client_that_leaves_midway_leaves_nothing(gateway: Home, until: Callable[..., Any]) -> None:
    """Half an upload is none: nothing appears, and the link works at once, not after the lease."""
    url = gateway.upload()
    with start_put(url, {"Content-Length": "1000000"}, bytes(500_000)):
        until(lambda: gateway.record(url), "the upload runs")
    until(lambda: gateway.record(url).lease is None, "the lease is let go")
    assert_nothing_left(gateway, url)


def test_chunked_upload_that_breaks_is_not_taken_for_whole(gateway: Home, until: Callable[..., Any]) -> None:
    """Without the last chunk a body is not complete: a proxy that dies must not leave half a file."""
    url = gateway.upload()
    with start_put(url, {"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n"):
        until(lambda: gateway.record(url), "the upload runs")
    until(lambda: gateway.record(url).lease is None, "the lease is let go")
    assert_nothing_left(gateway, url)


def test_link_that_may_replace_replaces_the_version_it_saw(gateway: Home) -> None:
    """Once: the version that stood at the first claim gives way; then the link is spent."""
    key = gateway.lay(b"version 1")
    url = gateway.upload(key, may_replace=True)
    assert ask("PUT", url, body=b"version 2").status == 200
    assert gateway.stands(url) == b"version 2"
    assert ask("PUT", url, body=b"version 3").status == 403


def test_link_that_may_replace_does_not_replace_another_version(gateway: Home, until: Callable[..., Any]) -> None:
    """Somebody else's version, stored after this link's first claim, is not overwritten: 412, also at the next try."""
    key = gateway.lay(b"version 1")
    url = gateway.upload(key, may_replace=True)
    with start_put(url, {"Content-Length": "9"}, b"vers") as connection:
        until(lambda: gateway.record(url), "the upload runs")
        (gateway.objects / key).unlink()
        gateway.lay(b"somebody else's", key)
        connection.send(b"ion 2")
        assert connection.read_answer().status == 412
    assert gateway.stands(url) == b"somebody else's"
    until(lambda: gateway.record(url).lease is None, "the lease is let go")
    assert ask("PUT", url, body=b"version 2").status == 412
    assert gateway.stands(url) == b"somebody else's"


def test_link_that_may_replace_also_makes_what_is_not_there(gateway: Home) -> None:
    """Nothing stands, so nothing is replaced; and with three uses each upload replaces the one before."""
    url = gateway.upload(may_replace=True, uses=3)
    assert [ask("PUT", url, body=b"v%d" % number).status for number in range(4)] == [200, 200, 200, 403]
    assert gateway.stands(url) == b"v2"


def test_conditions_of_a_put_are_honoured(gateway: Home) -> None:
    """If-Match and If-None-Match say what must stand; a client that names another version stores nothing."""
    key = gateway.lay(b"old")
    url = gateway.upload(key, may_replace=True)
    etag = ask("HEAD", gateway.link(key)).header("etag")
    assert ask("PUT", url, {"If-Match": '"other"'}, body=b"new").status == 412
    for unwanted in ("*", etag, f"W/{etag}", f'"other", {etag}'):
        assert ask("PUT", url, {"If-None-Match": unwanted}, body=b"new").status == 412
    assert ask("PUT", url, {"If-Match": f"W/{etag}"}, body=b"new").status == 412
    assert gateway.stands(url) == b"old"
    assert ask("PUT", url, {"If-Match": f'"other", {etag}'}, body=b"new").status == 200


def test_two_links_to_one_key_make_one_object(gateway: Home, until: Callable[..., Any]) -> None:
    """The store's condition makes it once: of two links at the same time, one gets 200 and the other 412."""
    key = f"in/{secrets.token_hex(5)}.bin"
    one, other = gateway.upload(key), gateway.upload(key)
    with start_put(one, {"Content-Length": "4"}, b"on") as connection:
        until(lambda: gateway.record(one), "the upload runs")
        assert ask("PUT", other, body=b"other").status == 200
        connection.send(b"e!")
        assert connection.read_answer().status == 412
    assert gateway.stands(one) == b"other"


@pytest.mark.parametrize("key", ["taken/inside", ".oncegate/staging/x", "n" * 300])
def test_key_that_the_store_cannot_hold_is_refused(gateway: Home, key: str) -> None:
    """A file where a folder would have to be, a reserved name, a name that is too long: 4xx, and no fault."""
    gateway.lay(b"a file", "taken")
    assert 400 <= ask("PUT", gateway.upload(key), body=b"x").status < 500


def test_plain_cloudfront_links_put_only_where_configured(gateway_with: Callable[..., Home]) -> None:
    """CloudFront signs no method: else every download link ever signed could overwrite."""
    home = gateway_with(links={"plain_put": ["inbox/"]})
    expires_s = int(time.time()) + 60

    def plain(key):
        return sign_url(f"{home.public_url}/{key}", key=home.signer, expires_s=expires_s)

    assert ask("PUT", plain("inbox/a.txt"), body=b"x").status == 200
    assert ask("PUT", plain("inbox/a.txt"), body=b"y").status == 403
    assert ask("PUT", plain("elsewhere/a.txt"), body=b"x").status == 403
    assert ask("PUT", plain("inboxes.txt"), body=b"x").status == 403
    assert not (home.objects / "elsewhere").exists()
