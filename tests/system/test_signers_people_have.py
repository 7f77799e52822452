"""Links of signers that exist for years work once; every respelling of them is the same link."""

from __future__ import annotations

import base64
import datetime as dt
import pathlib
import secrets
import subprocess
import time
from urllib.parse import parse_qsl, quote, urlsplit

import boto3
import botocore.config
import httpx
import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from oncegate.links.grant import Operation
from oncegate.links.link_id import uuid7
from oncegate.links.ticket import Ticket
from oncegate.testing.installation import Installation

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def ticket(operation: Operation = Operation.GET) -> str:
    """A fresh ``once`` parameter, as ``oncegate ticket`` prints it."""
    return f"once={Ticket(operation=operation, uses=1, nonce=uuid7(time.time_ns() // 10**6, secrets.token_bytes(10)))}"


def unsafe(text: bytes) -> str:
    """CloudFront's base64."""
    return base64.b64encode(text).decode().translate(str.maketrans("+=/", "-_~"))


def plain(text: str) -> bytes:
    """The other way round."""
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")))


def assert_opens_once(url: str, body: bytes) -> None:
    """200 and the object, then 403 in words."""
    with httpx.Client() as client:
        first = client.get(url)
        assert (first.status_code, first.content) == (200, body)
        second = httpx.get(url)
        assert second.status_code == 403
        assert "This link has been used." in second.text


@pytest.fixture
def made(tmp_path: pathlib.Path) -> Installation:
    """An installation with an object, RSA keys, and credentials for S3 links."""
    installation = Installation(tmp_path, key="rsa", credentials={"AKIAEXAMPLE": "secretsecretsecretsecret"})
    installation.put("dir/a b+c.txt", b"hello")
    installation.put("bucket/dir/s3 object.txt", b"from s3")
    return installation


@pytest.mark.parametrize("with_ticket", [True, False])
def test_a_link_of_botocores_cloudfront_signer_opens_once(made: Installation, *, with_ticket: bool) -> None:
    """RSA with SHA-1, as every botocore user has it; without a ticket a plain link opens once as well."""
    private = serialization.load_pem_private_key((made.folder / "private" / f"{made.key_id}.pem").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signer = CloudFrontSigner(made.key_id, lambda message: private.sign(message, padding.PKCS1v15(), hashes.SHA1()))
    url = f"{made.public_url}/dir/a%20b%2Bc.txt" + (f"?{ticket()}" if with_ticket else "")
    with made.serve():
        signed = signer.generate_presigned_url(
            url, date_less_than=dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=13)
        )
        assert_opens_once(signed, b"hello")


def test_a_link_of_openssl_alone_opens_once(tmp_path: pathlib.Path) -> None:
    """P-256 and SHA-256 by two commands that a person can type."""
    made = Installation(tmp_path)
    made.put("a.txt", b"hello")
    private = made.folder / "private" / f"{made.key_id}.pem"
    resource, expires = f"{made.public_url}/a.txt?{ticket()}", int(time.time()) + 600
    script = (
        f"""printf '%s' '{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":"""
        f"""{{"AWS:EpochTime":{expires}}}}}}}]}}' | openssl dgst -sha256 -sign {private} | openssl base64 -A"""
        """ | tr '+=/' '-_~'"""
    )
    signature = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    url = f"{resource}&Expires={expires}&Signature={signature}&Key-Pair-Id={made.key_id}&Hash-Algorithm=SHA256"
    with made.serve():
        assert_opens_once(url, b"hello")


def test_boto3_presigned_get_and_put_work_once(made: Installation) -> None:
    """s3v4 at a custom endpoint, path style: what users of MinIO and of S3 write."""
    client = boto3.client(
        "s3",
        endpoint_url=made.public_url,
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secretsecretsecretsecret",
        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    get = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "dir/s3 object.txt"})
    put = client.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "inbox/new.txt"})
    with made.serve():
        assert_opens_once(get, b"from s3")
        stored = httpx.put(put, content=b"sent")
        assert stored.status_code == 200
        assert stored.headers["etag"]
        assert httpx.put(put, content=b"again").status_code in (403, 412)
        (made.objects / "bucket" / "inbox" / "new.txt").unlink()
        assert httpx.put(put, content=b"again").status_code == 403


def test_signature_version_2_is_refused_with_what_to_change(made: Installation) -> None:
    """boto3 still makes it at some endpoints unless it is told otherwise."""
    with made.serve():
        answer = httpx.get(f"{made.public_url}/bucket/a?AWSAccessKeyId=AKIAEXAMPLE&Signature=abc%3D&Expires=9999999999")
    assert answer.status_code == 400
    assert "Please use AWS4-HMAC-SHA256" in answer.text


def respellings_of_cloudfront(url: str) -> list[str]:
    """Other texts that verify like a spent ECDSA link."""
    parts = urlsplit(url)
    pairs = parts.query.split("&")
    own, cloudfront = [p for p in pairs if p.startswith("once")], [p for p in pairs if not p.startswith("once")]
    base = f"{parts.scheme}://{parts.netloc}{parts.path}?"
    given = dict(parse_qsl(parts.query))
    r, s = decode_dss_signature(plain(given["Signature"]))
    mirrored = unsafe(encode_dss_signature(r, P256_ORDER - s))
    return [
        base + "&".join([*own, *reversed(cloudfront)]),
        base + "&".join([*cloudfront, *own]),
        url.replace("~", "%7E").replace("_", "%5F").replace("Signature=M", "Signature=%4D"),  # as each of ours begins
        url.replace(quote(given["Signature"], safe="~_-"), mirrored),
        url.replace("Key-Pair-Id=", "Key-Pair-Id=%4B", 1).replace("%4BK", "%4B", 1),
    ]


def test_no_respelling_of_a_cloudfront_link_opens_it_again(tmp_path: pathlib.Path) -> None:
    """Order, escapes and the mirrored ECDSA signature verify; they must meet the same record."""
    made = Installation(tmp_path)
    made.put("a.txt", b"hello")
    with made.serve():
        url = made.link("a.txt")
        assert httpx.get(url).status_code == 200
        for other in respellings_of_cloudfront(url):
            assert other != url
            answer = httpx.get(other)
            assert answer.status_code == 403
            assert b"hello" not in answer.content


def test_base64_spare_bits_do_not_make_a_second_rsa_link(made: Installation) -> None:
    """256 bytes leave four spare bits in their base64: sixteen texts, one signature."""
    url = made.link("dir/a b+c.txt")
    signature = dict(parse_qsl(urlsplit(url).query))["Signature"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~"
    last = signature.rstrip("_")[-1]
    other = signature.replace(f"{last}__", f"{letters[letters.index(last) + 1]}__")
    assert plain(other) == plain(signature)
    assert other != signature
    with made.serve():
        assert httpx.get(url).status_code == 200
        assert httpx.get(url.replace(signature, other)).status_code == 403


def test_no_respelling_of_an_s3_link_opens_it_again(made: Installation) -> None:
    """S3 sorts and decodes the query: 720 orders and any escapes are one link (the flaw of a published design)."""
    client = boto3.client(
        "s3", endpoint_url=made.public_url, region_name="us-east-1", aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secretsecretsecretsecret",
        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "dir/s3 object.txt"})
    base, _, query = url.partition("?")
    with made.serve():
        assert httpx.get(url).status_code == 200
        for other in (
            "&".join(reversed(query.split("&"))),
            query.replace("%2F", "%2f"),
            query.replace("X-Amz-Date", "%58-Amz-Date"),
        ):
            assert other != query
            answer = httpx.get(f"{base}?{other}")
            assert answer.status_code == 403
            assert b"from s3" not in answer.content


def test_a_copy_of_a_public_key_under_a_second_id_opens_nothing_again(tmp_path: pathlib.Path) -> None:
    """Key-Pair-Id is not signed: a plain link must be known by its key, not by the key's name."""
    made = Installation(tmp_path)
    made.put("a.txt", b"hello")
    (made.folder / "keys" / "KCOPY.pem").write_bytes((made.folder / "keys" / f"{made.key_id}.pem").read_bytes())
    resource, expires = f"{made.public_url}/a.txt", int(time.time()) + 600
    policy = (
        f'{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}'
    )
    signature = unsafe(made.signer.sign(policy.encode(), "SHA256"))
    url = f"{resource}?Expires={expires}&Signature={signature}&Key-Pair-Id={made.key_id}&Hash-Algorithm=SHA256"
    with made.serve():
        assert httpx.get(url).status_code == 200
        assert httpx.get(url.replace(made.key_id, "KCOPY")).status_code == 403
