"""Every scheme of a link, signed by the tools that people have: boto3, botocore, and our own; and plain links."""

import datetime as dt
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.client import Config
from botocore.signers import CloudFrontSigner

from homes import Home
from oncegate.keys.pem import load_signing_key, new_key_pair
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation, Scheme
from oncegate.links.link_id import uuid7
from oncegate.links.ticket import Ticket
from oncegate.service.gateway import TICK_S
from oncegate.testing.raw_http import ask

CREDENTIALS = {"AKTEST": "secret-of-the-tests"}


def soon():
    """A minute from now."""
    return int(time.time()) + 60


def plain(home, key, **more):
    """A CloudFront link as every signer makes it: without a ticket."""
    return sign_url(f"{home.public_url}/{key}", key=home.signer, expires_s=soon(), **more)


def wildcard(home, pattern, *, as_cookies=False):
    """A custom policy over many objects, and the query or the cookies that carry it."""
    signed = sign_url(f"{home.public_url}/{pattern}", key=home.signer, expires_s=soon(), custom=True)
    query = signed[len(f"{home.public_url}/{pattern}") :].lstrip("?&")
    if as_cookies:
        return {"Cookie": "; ".join(f"CloudFront-{pair}" for pair in query.split("&"))}
    return query


def s3_client(home, *, style="path", endpoint=None, bucket_host=False):
    """A client of boto3 that signs for the gateway; it never connects."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint or home.public_url,
        region_name="us-east-1",
        aws_access_key_id="AKTEST",
        aws_secret_access_key=CREDENTIALS["AKTEST"],
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )


@pytest.mark.parametrize("scheme", [Scheme.CANNED, Scheme.CUSTOM])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_cloudfront_link_opens_once(gateway_with: Callable[..., Home], scheme: Scheme, kind: str) -> None:
    """Canned and custom policy, both kinds of key."""
    url = gateway_with(key=kind).fresh(b"object", scheme=scheme)
    assert [ask("GET", url).status for _ in range(2)] == [200, 403]


def test_plain_link_opens_once(gateway: Home) -> None:
    """The default: a link of any CloudFront signer is single-use without its maker knowing of us."""
    url = plain(gateway, gateway.lay(b"object"))
    assert ask("HEAD", url).status == 200
    assert [ask("GET", url).status for _ in range(2)] == [200, 403]
    again = sign_url(url.partition("?")[0], key=gateway.signer, expires_s=soon() + 5)
    assert ask("GET", again).status == 200, "another expiry is another link"


def test_plain_link_is_the_same_under_another_key_id(
    gateway_with: Callable[..., Home], until: Callable[..., Any]
) -> None:
    """Key-Pair-Id is not signed: renaming it must not make a second link (F0.9)."""
    home = gateway_with(links={"resume_by": "never"})
    (home.folder / "keys" / "KSECOND.pem").write_bytes((home.folder / "keys" / f"{home.key_id}.pem").read_bytes())
    url = plain(home, home.lay(b"object"))
    assert ask("GET", url).status == 200
    renamed = url.replace(f"Key-Pair-Id={home.key_id}", "Key-Pair-Id=KSECOND")
    until(lambda: "InvalidKey" not in ask("GET", renamed).text, "the second name of the key is known")
    assert "This link has been used." in ask("GET", renamed).text


def test_wildcard_opens_each_object_once(gateway: Home) -> None:
    """A policy over a prefix is one link per object, however its query is ordered or spelled."""
    query = wildcard(gateway, "album/*")
    for key in ("album/1.jpg", "album/2.jpg", "album/sub/3.jpg"):
        url = f"{gateway.public_url}/{gateway.lay(b'picture', key)}"
        reordered = "&".join(reversed(query.split("&")))
        assert [ask("GET", f"{url}?{q}").status for q in (query, query, reordered)] == [200, 403, 403]
    gateway.lay(b"secret", "other/1.jpg")
    assert ask("GET", f"{gateway.public_url}/other/1.jpg?{query}").status == 403
    assert ask("GET", f"{gateway.public_url}/album/../other/1.jpg?{query}").status == 403
    assert ask("GET", f"{gateway.public_url}/album/%2e%2e/other/1.jpg?{query}").status == 403


def test_wildcard_does_not_open_an_object_again_under_another_spelling(gateway: Home) -> None:
    """The link's id is of the key and not of its escapes: ``%31`` is ``1``."""
    query = wildcard(gateway, "spell/*")
    gateway.lay(b"picture", "spell/1.jpg")
    assert ask("GET", f"{gateway.public_url}/spell/1.jpg?{query}").status == 200
    assert ask("GET", f"{gateway.public_url}/spell/%31.jpg?{query}").status == 403


def test_cookies_open_each_object_once(gateway: Home) -> None:
    """CloudFront's signed cookies: the same policy in three cookies, for URLs without a query."""
    cookies = wildcard(gateway, "stream/*", as_cookies=True)
    gateway.lay(b"part 1", "stream/1.ts")
    url = f"{gateway.public_url}/stream/1.ts"
    assert ask("GET", url).status == 403
    assert [ask("GET", url, cookies).status for _ in range(2)] == [200, 403]
    assert ask("GET", f"{gateway.public_url}/elsewhere.ts", cookies).status == 403


def test_holder_cannot_add_a_ticket_or_limits_of_his_own(gateway: Home) -> None:
    """Under a wildcard he writes what he likes into the query: what has a meaning must be signed literally."""
    gateway.lay(b"x", "album/9.jpg")
    query = wildcard(gateway, "album/*")
    for added in (
        "once=g9999.AZBh1m0AcACAAAAAAAAAAA",
        "once-max=5",
        "response-content-type=text/html",
        "%6Fnce=g.AZBh1m0AcACAAAAAAAAAAA",
    ):
        assert ask("GET", f"{gateway.public_url}/album/9.jpg?{added}&{query}").status == 403


def test_plain_links_can_be_allowed(gateway_with: Callable[..., Home]) -> None:
    """``allow``: as CloudFront, as often as asked, with no cookie and no record; tickets still count."""
    home = gateway_with(links={"plain_links": "allow"})
    url = plain(home, home.lay(b"object"))
    assert [ask("GET", url).status for _ in range(3)] == [200] * 3
    assert ask("GET", url, {"Range": "bytes=1-2"}).status == 206
    assert ask("GET", url).header("set-cookie") is None
    ticketed = home.fresh(b"object")
    assert [ask("GET", ticketed).status for _ in range(2)] == [200, 403]


def test_plain_links_can_be_refused(gateway_with: Callable[..., Home]) -> None:
    """``refuse``: only links with a ticket, the same words as for strangers."""
    home = gateway_with(links={"plain_links": "refuse"})
    refused = ask("GET", plain(home, home.lay(b"object")))
    assert (refused.status, "Access denied" in refused.text) == (403, True)
    assert ask("GET", home.fresh(b"object")).status == 200


def test_link_signed_by_botocore_opens_once(gateway_with: Callable[..., Home]) -> None:
    """CloudFrontSigner with RSA and SHA-1, as ten years of code have it."""
    home = gateway_with(key="rsa")
    signer = CloudFrontSigner(home.key_id, lambda message: home.signer.sign(message, "SHA1"))
    key = home.lay(b"object")
    expires = dt.datetime.fromtimestamp(soon(), dt.UTC)
    url = signer.generate_presigned_url(f"{home.public_url}/{key}", date_less_than=expires)
    assert [ask("GET", url).status for _ in range(2)] == [200, 403]
    policy = signer.build_policy(f"{home.public_url}/{home.lay(b'x')}", expires, ip_address="127.0.0.1")
    custom = signer.generate_presigned_url(policy.split('"Resource":"')[1].partition('"')[0], policy=policy)
    assert [ask("GET", custom).status for _ in range(2)] == [200, 403]


@pytest.mark.parametrize("key", ["plain.txt", "a b/ü+%&=?#.txt"])
def test_s3_links_of_boto3_open_once(gateway_with: Callable[..., Home], key: str) -> None:
    """Presigned GET with endpoint_url, path style: the bucket is the first part of the key; HEAD by a link of its own."""
    home = gateway_with(credentials=CREDENTIALS)
    home.lay(b"object", f"bucket/{key}")
    client = s3_client(home)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": key}, ExpiresIn=60)
    answers = [ask("GET", url) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 403]
    assert answers[0].body == b"object"
    head = client.generate_presigned_url("head_object", Params={"Bucket": "bucket", "Key": key}, ExpiresIn=60)
    assert ask("HEAD", head).status == 200
    assert ask("GET", head).status == 403, "the method is signed"
    (home.objects / "bucket" / key).unlink()


def test_s3_upload_link_of_boto3_stores_once(gateway_with: Callable[..., Home]) -> None:
    """Presigned PUT: stored once, then used; a signed Content-Type must be sent as signed."""
    home = gateway_with(credentials=CREDENTIALS)
    params = {"Bucket": "bucket", "Key": "up.txt", "ContentType": "text/plain"}
    url = s3_client(home).generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    assert ask("PUT", url, {"Content-Type": "text/html"}, body=b"x").status == 403
    assert ask("PUT", url, {"Content-Type": "text/plain"}, body=b"object").status == 200
    assert ask("PUT", url, {"Content-Type": "text/plain"}, body=b"other").status == 403
    assert (home.objects / "bucket" / "up.txt").read_bytes() == b"object"


def test_s3_link_with_the_bucket_in_its_host(gateway_with: Callable[..., Home]) -> None:
    """Virtual-hosted style: the bucket stands before the public host, and before the key in the store."""
    home = gateway_with(viewer={"public_url": "http://files.example"}, credentials=CREDENTIALS)
    home.lay(b"object", "bucket/key.txt")
    client = s3_client(home, style="virtual", endpoint="http://files.example")
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "key.txt"}, ExpiresIn=60)
    assert urlsplit(url).hostname == "bucket.files.example"
    at = f"http://127.0.0.1:{home.port}"
    assert [ask("GET", url, at=at).status for _ in range(2)] == [200, 403]
    assert ask("GET", url, {"Host": "other.files.example"}, at=at).status == 403


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_configured_bucket_is_the_store_itself(gateway_with: Callable[..., Home], style: str) -> None:
    """``[links] s3_bucket``: whoever moves from a bucket keeps his keys; another bucket's name stays part of the key."""
    home = gateway_with(
        viewer={"public_url": "http://files.example"}, links={"s3_bucket": "media"}, credentials=CREDENTIALS
    )
    at = f"http://127.0.0.1:{home.port}"
    client = s3_client(home, style=style, endpoint="http://files.example")
    home.lay(b"at the root", f"{style}.txt")
    home.lay(b"of another", f"other/{style}.txt")
    for bucket, body in (("media", b"at the root"), ("other", b"of another")):
        params = {"Bucket": bucket, "Key": f"{style}.txt"}
        url = client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
        assert ask("GET", url, at=at).body == body


def test_s3_link_is_one_link_in_every_spelling(gateway_with: Callable[..., Home]) -> None:
    """SigV4 signs the decoded query, so order and escapes are free: none of them opens it again."""
    home = gateway_with(credentials=CREDENTIALS)
    home.lay(b"object", "bucket/same.txt")
    params = {"Bucket": "bucket", "Key": "same.txt"}
    url = s3_client(home).generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    path, _, query = url.partition("?")
    assert ask("GET", url).status == 200
    assert ask("GET", f"{path}?{'&'.join(reversed(query.split('&')))}").status == 403
    assert ask("GET", f"{path}?{query.replace('X-Amz', '%58-Amz')}").status == 403
    assert ask("GET", f"{path}?{query.replace('%2F', '/')}").status == 403


def test_s3_signature_version_2_is_refused_with_what_to_change(gateway_with: Callable[..., Home]) -> None:
    """Boto3 still makes it at custom endpoints when told "s3": the message names the version that works."""
    home = gateway_with(credentials=CREDENTIALS)
    client = boto3.client(
        "s3",
        endpoint_url=home.public_url,
        region_name="us-east-1",
        aws_access_key_id="AKTEST",
        aws_secret_access_key="x",
        config=Config(signature_version="s3"),
    )
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"}, ExpiresIn=60)
    answer = ask("GET", url)
    assert (answer.status, "AWS4-HMAC-SHA256" in answer.text) == (400, True)


def test_key_group_change_is_seen_within_two_seconds(
    gateway_with: Callable[..., Home], until: Callable[..., Any]
) -> None:
    """A new key is trusted, and a retired one is not, without a restart: the folder is read once a second."""
    assert TICK_S <= 1
    home = gateway_with(links={"home": "keys"})
    private, public = new_key_pair("ecdsa")
    signer = load_signing_key(private).named("KFRESH")
    key = home.lay(b"object")
    url = sign_url(f"{home.public_url}/{key}", key=signer, expires_s=soon())
    assert "InvalidKey" in ask("GET", url).text
    (home.folder / "keys" / "KFRESH.pem").write_bytes(public)
    until(lambda: ask("HEAD", url).status == 200, "the new key is seen")
    (home.folder / "keys" / "KFRESH.pem").unlink()
    until(lambda: ask("HEAD", url).status == 403, "the retired key is seen")
    assert ask("GET", url).status == 403


def test_ticket_of_another_home_is_refused(gateway_with: Callable[..., Home]) -> None:
    """Several ledgers: a link opens at the one that it names, and at no other."""
    home = gateway_with(links={"home": "eu1"})
    key = home.lay(b"object")
    for named, status in (("us1", 403), ("eu1", 200)):
        ticket = Ticket(
            operation=Operation.GET, uses=1, nonce=uuid7(time.time_ns() // 1_000_000, bytes(10)), home=named
        )
        url = sign_url(f"{home.public_url}/{key}?once={ticket}", key=home.signer, expires_s=soon())
        assert ask("GET", url).status == status


def test_links_are_signed_by_the_new_key_within_two_seconds_of_a_switch(
    gateway_with: Callable[..., Home], until: Callable[..., Any]
) -> None:
    """The control API went on with the old key: 201, with links that were 403 as soon as that was retired."""
    home = gateway_with(links={"home": "switch"})
    name = home.lay(b"object")
    token = home.run("tokens", "new", "maker", "--scope", "links:write").stdout.strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def made():
        answer = ask("POST", f"{home.serving.control_url}/v1/links", headers, body=json.dumps({"key": name}).encode())
        return json.loads(answer.body)["url"] if answer.status == 201 else ""

    old = home.key_id
    assert f"Key-Pair-Id={old}" in made()
    new = home.run("keys", "new").stdout.strip()
    config = home.folder / "oncegate.toml"
    config.write_text(config.read_text().replace(f"{old}.pem", f"{new}.pem"))
    assert home.run("keys", "retire", old, "--force").returncode == 0
    until(lambda: f"Key-Pair-Id={new}" in made(), "the new key signs")
    until(lambda: ask("HEAD", home.link(name)).status == 403, "the old key is not trusted")
    assert ask("GET", made()).status == 200


def test_a_changed_setting_is_one_line_of_the_log(gateway_with: Callable[..., Home], until: Callable[..., Any]) -> None:
    """It takes effect at the next start: whoever changed it must not wait for it."""
    home = gateway_with(links={"home": "changed"})
    config = home.folder / "oncegate.toml"
    config.write_text(config.read_text().replace('"changed"', '"else"'))
    lines = lambda: [line for line in home.serving.log_lines() if line["event"] == "settings-changed"]  # noqa: E731
    until(lines, "the change is logged")
    (line,) = lines()
    assert (line["settings"], line["what"]) == ("links.home", "restart to apply")
