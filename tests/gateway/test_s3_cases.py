"""Cases from S3's documentation of presigned PUT, GET and HEAD, signed by boto3: what S3 does, or a refusal by name.

Source: S3 API Reference, PutObject, GetObject and HeadObject; S3 User Guide, "Download and upload objects with presigned
URLs", "Working with object metadata", "Checking object integrity", "Conditional requests".
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import boto3
import google_crc32c
import pytest
from awscrt.checksums import crc64nvme
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials

from homes import Home
from oncegate.testing.raw_http import RawAnswer, ask

CREDENTIALS = {"AKTEST": "secret-of-the-tests"}
BODY = "Größe: 10 €, which is text in UTF-8\n".encode()
_numbers = itertools.count()


@pytest.fixture(scope="module")
def home(gateway_with: Callable[..., Home]) -> Home:
    """A gateway whose store is the bucket."""
    return gateway_with(credentials=CREDENTIALS, links={"s3_bucket": "bucket"})


def presign(home: Home, operation: str, key: str, **params: object) -> str:
    """A URL of boto3."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=home.public_url,
        region_name="us-east-1",
        aws_access_key_id="AKTEST",
        aws_secret_access_key=CREDENTIALS["AKTEST"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    params = {"Bucket": "bucket", "Key": key, **params}
    return str(client.generate_presigned_url(operation, Params=params, ExpiresIn=60))


def presign_query(home: Home, method: str, key: str, **parameters: str) -> str:
    """A URL as SDKs sign it that move headers into the query (Go, JavaScript)."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    request = AWSRequest(method=method, url=f"{home.public_url}/bucket/{key}?{query}")
    S3SigV4QueryAuth(Credentials("AKTEST", CREDENTIALS["AKTEST"]), "s3", "us-east-1", expires=60).add_auth(request)
    return str(request.url)


def b64(digest: bytes) -> str:
    """As S3 writes checksums."""
    return base64.b64encode(digest).decode()


def fresh_key(suffix: str = ".txt") -> str:
    """A key that no other case has."""
    return f"case-{next(_numbers)}{suffix}"


class Put(NamedTuple):
    """A PUT: what boto3 is told to sign, what the client sends, and what becomes of it.

    Attributes:
        params: of ``put_object``.
        headers: sent.
        status: of the answer.
        shown: headers of the GET that follows; of a refusal: what its body says.
    """

    params: dict[str, object]
    headers: dict[str, str]
    status: int
    shown: dict[str, str] | str


YEAR_2030 = "Tue, 01 Jan 2030 00:00:00 GMT"
PUTS: dict[str, Put] = {
    "content type with a charset": Put(
        {"ContentType": "text/csv; charset=latin1"},
        {"Content-Type": "text/csv; charset=latin1"},
        200,
        {"content-type": "text/csv; charset=latin1"},
    ),
    "content type that the name does not tell": Put(
        {}, {"Content-Type": "application/x-mine"}, 200, {"content-type": "application/x-mine"}
    ),
    "no content type": Put({}, {}, 200, {"content-type": "text/plain"}),
    "content encoding": Put(
        {"ContentEncoding": "gzip"}, {"Content-Encoding": "gzip"}, 200, {"content-encoding": "gzip"}
    ),
    "content encoding that is not signed": Put({}, {"Content-Encoding": "br"}, 200, {"content-encoding": "br"}),
    "content language": Put(
        {"ContentLanguage": "de-DE"}, {"Content-Language": "de-DE"}, 200, {"content-language": "de-DE"}
    ),
    "content disposition": Put(
        {"ContentDisposition": 'attachment; filename="other.txt"'},
        {"Content-Disposition": 'attachment; filename="other.txt"'},
        200,
        {"content-disposition": 'attachment; filename="other.txt"'},
    ),
    "inline disposition of a page": Put(
        {"ContentType": "text/html", "ContentDisposition": "inline"},
        {"Content-Type": "text/html", "Content-Disposition": "inline"},
        200,
        {"content-disposition": "attachment"},
    ),
    "cache control": Put(
        {"CacheControl": "public, max-age=31536000"},
        {"Cache-Control": "public, max-age=31536000"},
        200,
        {"cache-control": "private, no-store"},
    ),
    "expires": Put({}, {"Expires": YEAR_2030}, 200, {"expires": YEAR_2030}),
    "metadata": Put(
        {"Metadata": {"Owner": "alice", "build-id": "7"}},
        {"x-amz-meta-owner": "alice", "x-amz-meta-build-id": "7"},
        200,
        {"x-amz-meta-owner": "alice", "x-amz-meta-build-id": "7"},
    ),
    "metadata that was signed and not sent": Put({"Metadata": {"a": "b"}}, {}, 403, "SignatureDoesNotMatch"),
    "metadata over two kilobytes": Put(
        {"Metadata": {"a": "b" * 2048}}, {"x-amz-meta-a": "b" * 2048}, 400, "MetadataTooLarge"
    ),
    "acl private": Put({"ACL": "private"}, {"x-amz-acl": "private"}, 200, {}),
    "acl public-read": Put({"ACL": "public-read"}, {"x-amz-acl": "public-read"}, 501, "<Header>x-amz-acl</Header>"),
    "encryption": Put(
        {"ServerSideEncryption": "AES256"},
        {"x-amz-server-side-encryption": "AES256"},
        501,
        "<Header>x-amz-server-side-encryption</Header>",
    ),
    "tags": Put({"Tagging": "a=b"}, {"x-amz-tagging": "a=b"}, 501, "<Header>x-amz-tagging</Header>"),
    "storage class": Put(
        {"StorageClass": "GLACIER"}, {"x-amz-storage-class": "GLACIER"}, 501, "<Header>x-amz-storage-class</Header>"
    ),
    "content md5": Put(
        {"ContentMD5": b64(hashlib.md5(BODY).digest())}, {"Content-MD5": b64(hashlib.md5(BODY).digest())}, 200, {}
    ),
    "content md5 of another body": Put(
        {"ContentMD5": b64(hashlib.md5(b"").digest())},
        {"Content-MD5": b64(hashlib.md5(b"").digest())},
        400,
        "BadDigest",
    ),
    "checksum sha256": Put(
        {"ChecksumSHA256": b64(hashlib.sha256(BODY).digest())},
        {"x-amz-checksum-sha256": b64(hashlib.sha256(BODY).digest())},
        200,
        {},
    ),
    "checksum crc64nvme": Put(
        {"ChecksumCRC64NVME": b64(crc64nvme(BODY).to_bytes(8))},
        {"x-amz-checksum-crc64nvme": b64(crc64nvme(BODY).to_bytes(8))},
        200,
        {},
    ),
    "checksum crc32c of another body": Put(
        {"ChecksumCRC32C": b64(google_crc32c.value(b"x").to_bytes(4))},
        {"x-amz-checksum-crc32c": b64(google_crc32c.value(b"x").to_bytes(4))},
        400,
        "BadDigest",
    ),
    "only where nothing stands": Put({"IfNoneMatch": "*"}, {"If-None-Match": "*"}, 200, {}),
    "only where a version stands": Put({"IfMatch": '"x"'}, {"If-Match": '"x"'}, 412, "PreconditionFailed"),
    "another length than signed": Put({"ContentLength": 1}, {}, 403, "SignatureDoesNotMatch"),
    "a form": Put({}, {"Content-Type": "multipart/form-data; boundary=x"}, 415, "This is a form"),
}


@pytest.mark.parametrize("name", PUTS)
def test_a_presigned_put_does_what_s3_does_or_says_what_it_does_not(home: Home, name: str) -> None:
    """What was signed is kept and given back, or the upload is refused by name and stores nothing."""
    params, headers, status, shown = PUTS[name]
    key = fresh_key()
    answer = ask("PUT", presign(home, "put_object", key, **params), headers, body=BODY)
    assert answer.status == status, answer.text
    if isinstance(shown, str):
        assert shown in answer.text
        assert not (home.objects / key).exists()
        return
    found = ask("GET", presign(home, "get_object", key))
    assert (found.status, found.body) == (200, BODY)
    assert {header: found.header(header) for header in shown} == shown
    seen = ask("HEAD", presign(home, "head_object", key))
    assert {header: seen.header(header) for header in shown} == shown


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32", "x-id": "PutObject"}, 200, ""),
        ({"X-Amz-Checksum-Crc32": b64(zlib.crc32(BODY).to_bytes(4)), "X-Amz-Acl": "private"}, 200, ""),
        ({"x-amz-checksum-sha256": b64(hashlib.sha256(b"").digest())}, 400, "BadDigest"),
        ({"X-Amz-Meta-Owner": "alice", "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, 200, "x-amz-meta-owner"),
        ({"x-amz-website-redirect-location": "/x"}, 501, "<Header>x-amz-website-redirect-location</Header>"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 501, "<Header>x-amz-object-lock-mode</Header>"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_header_that_was_moved_into_the_query_is_a_header(
    home: Home, parameters: dict[str, str], status: int, says: str
) -> None:
    """As the SDKs of Go and JavaScript presign; S3 reads both alike."""
    key = fresh_key()
    answer = ask("PUT", presign_query(home, "PUT", key, **parameters), body=BODY)
    assert (answer.status, (home.objects / key).exists()) == (status, status == 200), answer.text
    if status == 200:
        found = ask("GET", presign(home, "get_object", key))
        assert found.body == BODY
        assert not says or found.header(says) == "alice"
    else:
        assert says in answer.text


class Get(NamedTuple):
    """A GET of a text: what is signed, what is sent, and what comes."""

    params: dict[str, object]
    headers: dict[str, str]
    status: int
    shown: dict[str, str | None]


GETS: dict[str, Get] = {
    "response headers": Get(
        {
            "ResponseContentType": "application/json",
            "ResponseContentLanguage": "fr",
            "ResponseContentEncoding": "identity",
            "ResponseContentDisposition": 'attachment; filename="Müller.txt"',
        },
        {},
        200,
        {
            "content-type": "application/json",
            "content-language": "fr",
            "content-encoding": "identity",
            "content-disposition": "attachment; filename=\"M_ller.txt\"; filename*=UTF-8''M%C3%BCller.txt",
        },
    ),
    "inline text": Get(
        {"ResponseContentDisposition": "inline"}, {}, 200, {"content-type": "text/plain; charset=utf-8"}
    ),
    "inline text with a charset": Get(
        {"ResponseContentDisposition": "inline", "ResponseContentType": "text/plain; charset=x"},
        {},
        200,
        {"content-type": "text/plain; charset=x"},
    ),
    "cache control": Get({"ResponseCacheControl": "max-age=60"}, {}, 400, {}),
    "expires": Get({"ResponseExpires": YEAR_2030}, {}, 400, {}),
    "range": Get({"Range": "bytes=0-3"}, {"Range": "bytes=0-3"}, 206, {"content-range": f"bytes 0-3/{len(BODY)}"}),
    "range beyond the end": Get({}, {"Range": f"bytes={len(BODY)}-"}, 416, {}),
    "another version": Get({"IfMatch": '"x"'}, {"If-Match": '"x"'}, 412, {}),
    "checksum mode": Get({"ChecksumMode": "ENABLED"}, {"x-amz-checksum-mode": "ENABLED"}, 200, {}),
    "request payer": Get({"RequestPayer": "requester"}, {"x-amz-request-payer": "requester"}, 200, {}),
    "a customer's key": Get(
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
        {
            "x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key": b64(b"k" * 32),
            "x-amz-server-side-encryption-customer-key-MD5": b64(hashlib.md5(b"k" * 32).digest()),
        },
        501,
        {},
    ),
    "one part": Get({"PartNumber": 1}, {}, 403, {}),
    "one version": Get({"VersionId": "x"}, {}, 403, {}),
}


@pytest.mark.parametrize("name", GETS)
def test_a_presigned_get_does_what_s3_does_or_says_what_it_does_not(home: Home, name: str) -> None:
    """A refusal costs nothing: a link without the wish opens the object."""
    params, headers, status, shown = GETS[name]
    key = home.lay(BODY, fresh_key())
    answer = ask("GET", presign(home, "get_object", key, **params), headers)
    assert answer.status == status, answer.text
    assert {header: answer.header(header) for header in shown} == shown
    if status == 400:
        assert f"<ArgumentName>response-{name.replace(' ', '-')}</ArgumentName>" in answer.text
    if status not in (200, 206):
        assert ask("GET", presign(home, "get_object", key)).body == BODY


def test_gzip_bytes_come_back_as_they_were_sent(home: Home) -> None:
    """Decoded on the way they would fit neither their length nor their checksum; without the header nobody can read them."""
    key, data = fresh_key(".html"), gzip.compress(b"<p>a page" * 1000)
    sent = {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"}
    assert ask("PUT", presign(home, "put_object", key), sent, body=data).status == 200
    found = ask("GET", presign(home, "get_object", key), {"Accept-Encoding": "gzip"})
    assert (found.body, found.header("content-length")) == (data, str(len(data)))
    assert (found.header("content-encoding"), found.header("content-type")) == ("gzip", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"plain", "text/plain; charset=utf-8"),
        ("€".encode() * 30_000, "text/plain; charset=utf-8"),
        (b"a" * 65_535 + "€".encode(), "text/plain; charset=utf-8"),
        ("Größe".encode("latin-1"), "text/plain"),
        ("Größe caf\xe9".encode("latin-1"), "text/plain"),
        ("UTF-16".encode("utf-16-le"), "text/plain"),
        (b"", "text/plain; charset=utf-8"),
    ],
    ids=["ascii", "utf-8", "a cut character", "latin-1", "latin-1 at the end", "utf-16", "empty"],
)
def test_the_charset_of_a_text_that_is_shown_is_named_where_it_is_utf_8(
    home: Home, data: bytes, content_type: str
) -> None:
    """Browsers take that of the reader's own language otherwise; only what is saved needs none."""
    key = home.lay(data, fresh_key())
    shown = {"ResponseContentDisposition": "inline"}
    answers: list[RawAnswer] = [
        ask("HEAD", presign(home, "head_object", key)),
        ask("GET", presign(home, "get_object", key, **shown)),
    ]
    assert [answer.header("content-type") for answer in answers] == ["text/plain", content_type]
    assert answers[1].body == data


def test_a_put_without_a_length_is_411_and_costs_nothing(home: Home) -> None:
    """It has no body, as HTTP reads it, and its sender believes that they sent one."""
    url = home.upload()
    assert ask("PUT", url).status == 411
    assert home.record(url) is None
    assert ask("PUT", url, body=b"").status == 200


def test_a_signature_in_the_query_expires_as_s3_says(home: Home) -> None:
    """Zero seconds are no time."""
    url = presign(home, "get_object", home.lay(BODY, fresh_key())).replace("X-Amz-Expires=60", "X-Amz-Expires=0")
    answer = ask("GET", url)
    assert (answer.status, "must be greater than zero" in answer.text) == (400, True)
