"""The five published designs, each by its own calls in its own order, on a deployment; what differs is asserted.

The calls go to the deployed HTTP API, signed for IAM or not signed; the direct invocation goes to Lambda. All of it is
the emulator's, and the referee is in front of the bucket.

Source: docs/aws-protocol.md, the published systems.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from tests.aws import test_deployed_api
from tests.aws.conftest import PARTS
from tests.aws.test_deployed_api import Client, Reply

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.referee.bucket_policy import allows
from oncegate.aws.referee.deployed import serve_deployed
from oncegate.aws.referee.served import Served
from oncegate.aws.stacks.api_variables import AUTHORIZER, CONFIGURATION, PUBLIC_KEYS, SECRET
from oncegate.keys.pem import new_key_pair
from oncegate.service.api_function import ApiFunction
from oncegate.testing.servers.aws import AwsEmulator
from oncegate.testing.servers.object_stores import environment

bundle = test_deployed_api.bundle
"""The fixture: the API's code."""
NAME, REGION, BUCKET = "articles", "eu-central-1", "articles-objects"
MISSING_KEY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>MissingKey</Code>'
    b"<Message>Missing Key-Pair-Id query parameter or cookie value</Message></Error>"
)


class Deployment:
    """What the articles' readers have: an API, a domain, a bucket, and a key of their own.

    Attributes:
        site: the distribution.
        folder: the configuration that the deployment wrote; ``private.pem`` is the RSA key.
    """

    def __init__(self, site: Served, folder: Path, api: Client) -> None:
        self.site = site
        self.folder = folder
        self._api = api

    def call(self, method: str, target: str, body: Any = None, *, is_signed: bool = True) -> Reply:
        """Call the HTTP API, by default as somebody whom IAM knows."""
        return self._api.ask(method, target, body, is_signed=is_signed)

    def invoke(self, event: Mapping[str, str]) -> Any:
        """Invoke the function itself."""
        client: Any = boto3.client("lambda", region_name=REGION)
        answered = client.invoke(FunctionName=f"{NAME}-api", Payload=json.dumps(event).encode())
        assert "FunctionError" not in answered
        return json.loads(answered["Payload"].read())

    def function_with_key(self, signing: str) -> ApiFunction:
        """The function as it is with another signing key, in this process."""
        text = re.sub(r'signing = ".*"', f'signing = "{signing}"', (self.folder / "oncegate.toml").read_text())
        keys = {path.stem: path.read_text() for path in (self.folder / "keys").glob("*.pem")}
        own = {CONFIGURATION: text, PUBLIC_KEYS: json.dumps(keys), AUTHORIZER: "iam", SECRET: "drawn at deploy"}
        return ApiFunction({**os.environ, **own}, self.folder / "function", log_descriptor=2)

    def lay(self, key: str, data: bytes = b"the object") -> str:
        """Put an object into the bucket."""
        boto3.client("s3", region_name=REGION).put_object(Bucket=BUCKET, Key=key, Body=data)
        return key

    def stored(self, key: str) -> bytes:
        """What is in the bucket."""
        found: bytes = boto3.client("s3", region_name=REGION).get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return found

    def keys_stored(self) -> set[str]:
        """All keys of the bucket."""
        listed = boto3.client("s3", region_name=REGION).list_objects_v2(Bucket=BUCKET)
        return {each["Key"] for each in listed.get("Contents", ())}

    def records(self) -> int:
        """How many items the table has."""
        count: int = boto3.client("dynamodb", region_name=REGION).scan(TableName=NAME, Select="COUNT")["Count"]
        return count

    def lets_in(self, action: str, key: str) -> bool:
        """Whether the bucket's policy lets somebody do something by the bucket's own URL."""
        policy = boto3.client("s3", region_name=REGION).get_bucket_policy(Bucket=BUCKET)["Policy"]
        resource, context = f"arn:aws:s3:::{BUCKET}/{key}", {"aws:securetransport": "true"}
        return allows(json.loads(policy), action=action, resource=resource, context=context, service="")


def oncegate(*arguments: str) -> str:
    """Run the command; return what it wrote to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "oncegate", *arguments],
        env=dict(os.environ), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def deployed(aws: AwsEmulator, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all of them: it signs by KMS, and trusts an RSA key that was made elsewhere besides."""
    folder = tmp_path_factory.mktemp(NAME)
    private, public = new_key_pair("rsa")
    (folder / "private.pem").write_bytes(private)
    (folder / "public.pem").write_bytes(public)
    oncegate(
        *("aws", "deploy", NAME, "--home", REGION, "--bucket", BUCKET, "--yes", "--folder-here", str(folder)),
        *("--uploads", "inbox/", "--uploads", "uploads/", "--public-key", str(folder / "public.pem")),
        *("--bundle", str(bundle)),
    )
    api = Client(aws, json.loads(oncegate("aws", "outputs", NAME))["ApiEndpoint"])
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as site:
        yield Deployment(site, folder, api)


def test_one_time_download_by_get_url(deployed: Deployment) -> None:
    """A presigned GET behind CloudFront: GET /get-url?key=, open the URL, open it again."""
    site = deployed.site
    bad = deployed.call("GET", "/get-url")
    assert (bad.status, bad.body) == (400, b"Bad request")
    deployed.lay("photo.jpg", b"a photo")
    url = deployed.call("GET", "/get-url?key=photo.jpg").json["url"]
    assert url.startswith(f"https://{site.domain}/photo.jpg?")
    # what differs: who only looks spends nothing, and so does a bucket without the object
    assert site.ask("HEAD", url).status == 200
    assert site.ask("OPTIONS", url).status in (200, 204)
    late = deployed.call("GET", "/get-url?key=late.jpg").json["url"]
    assert site.get(late).status == 404
    assert site.get(late.replace(site.domain, "elsewhere.example")).status == 403
    assert site.get(url).body == b"a photo"
    assert site.get(url).status == 403
    assert site.get(deployed.lay("late.jpg") and late).status == 200
    # another order of the parameters was a fresh link there
    head, _, query = url.partition("?")
    parts = query.split("&")
    assert site.get(f"{head}?{'&'.join([parts[0], *reversed(parts[1:])])}").status == 403
    # the bucket's own URL opened it there, and strangers' URLs filled the table
    assert not deployed.lets_in("s3:GetObject", "photo.jpg")
    before = deployed.records()
    assert (
        site.get(f"{site.url('photo.jpg')}?once=g.AYkKXayWd0qhAAAAAAAAAA&Expires=1&Signature=x&Key-Pair-Id=y").status
        == 403
    )
    assert deployed.records() == before
    # anybody was given a link there, and two within one second the same one
    assert deployed.call("GET", "/get-url?key=photo.jpg", is_signed=False).status == 403
    two = [deployed.call("GET", "/get-url?key=photo.jpg").json["url"] for _ in range(2)]
    assert [site.get(each).status for each in two] == [200, 200]


def test_one_time_upload_by_url(deployed: Deployment) -> None:
    """A presigned PUT with marker objects: GET /url, PUT, PUT again."""
    site = deployed.site
    url = deployed.call("GET", "/url").body.decode()
    key = url.partition("?")[0].removeprefix(f"https://{site.domain}/")
    assert str(uuid.UUID(key.removeprefix("uploads/"))) == key.removeprefix("uploads/")
    assert site.ask("GET", url, headers={"user-agent": "curl/8.5.0", "accept": "*/*"}).status == 403
    # browsers ask first, which was refused there
    assert site.ask("OPTIONS", url, headers={"origin": "https://app.example"}).status in (200, 204)
    # an upload that the bucket never got whole cost the link there
    assert site.ask("PUT", url, body=b"x", headers={"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}).status >= 400
    assert site.ask("PUT", url, body=b"mine").status == 200
    assert site.ask("PUT", url, body=b"another").status == 403
    assert deployed.stored(key) == b"mine"
    assert site.seen[-1].sent_headers["if-none-match"] == "*"
    # no marker objects; the bucket's own URL is closed; HEAD issued a link there; anybody was given one
    assert not {each for each in deployed.keys_stored() if each.startswith("signatures/")}
    assert not deployed.lets_in("s3:PutObject", key)
    assert deployed.call("HEAD", "/url").status == 405
    assert deployed.call("GET", "/url", is_signed=False).status == 403


def test_a_function_that_signs_with_a_key_in_secrets_manager(deployed: Deployment) -> None:
    """Invoke it with fileName and a time in eight texts; it returns the URL."""
    site = deployed.site
    secrets: Any = boto3.client("secretsmanager", region_name=REGION)
    arn = secrets.create_secret(Name="cloudfront-key", SecretString=(deployed.folder / "private.pem").read_text())[
        "ARN"
    ]
    when = datetime.now(UTC) + timedelta(minutes=30)
    names = ("Year", "Month", "Day", "Hour", "Minute", "Second", "Micro")
    values = (when.year, when.month, when.day, when.hour, when.minute, when.second, when.microsecond)
    event = {"fileName": deployed.lay("a b/ü #1.pdf"), **dict(zip(names, map(str, values), strict=True))}
    with contextlib.closing(deployed.function_with_key(f"secretsmanager:{arn}")) as function:
        url = function.answer(event)
    assert isinstance(url, str)
    # there the name was not escaped, and the time was that of the machine
    assert url.startswith(f"https://{site.domain}/{quote('a b/ü #1.pdf')}?")
    assert f"Expires={int(when.timestamp())}&" in url
    assert site.get(site.url("a b/ü #1.pdf")).code == "MissingKey"
    assert site.get(url).body == b"the object"
    assert site.get(url).status == 403, "there it opened until it expired"
    # the deployed function signs by KMS, which the article rules out
    by_kms = deployed.invoke(event)
    assert by_kms.partition("?")[0] == url.partition("?")[0]
    assert [site.get(by_kms).status for _ in range(2)] == [200, 403]


def test_a_rest_api_that_lists_and_signs(deployed: Deployment) -> None:
    """GET /v1/s3objects, POST /v1/urls, the URL without its signature, the URL."""
    site = deployed.site
    deployed.lay("reports/q1 & q2.pdf", b"%PDF")
    listed = deployed.call("GET", "/v1/s3objects")
    assert listed.status == 200
    (found,) = [each for each in listed.json if each["Key"] == "reports/q1 & q2.pdf"]
    assert found.keys() == {"Key", "LastModified", "ETag", "Size", "StorageClass"}
    assert (found["Size"], found["ETag"][0]) == (4, '"')
    made = deployed.call("POST", "/v1/urls", {"file": "reports/q1 & q2.pdf"})
    assert made.status == 201
    assert made.json.keys() == {"signedUrl"}
    unsigned = site.get(made.json["signedUrl"].partition("?")[0])
    assert (unsigned.status, unsigned.headers["content-type"], unsigned.body) == (403, "text/xml", MISSING_KEY)
    assert site.get(made.json["signedUrl"]).body == b"%PDF"
    # what differs: once; nobody without credentials; a call without a body is said to be wrong, where it was 502
    assert site.get(made.json["signedUrl"]).status == 403
    assert deployed.call("POST", "/v1/urls", {"file": "a"}, is_signed=False).status == 403
    assert deployed.call("GET", "/v1/s3objects", is_signed=False).status == 403
    assert deployed.call("POST", "/v1/urls").status == 422


@pytest.fixture(scope="module")
def aws_cli() -> list[str]:
    """The ``aws`` command in an environment of its own: it wants another botocore."""
    try:
        python = environment(PARTS / "awscli" / "venv", "awscli==1.45.11")
    except RuntimeError as error:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            raise
        pytest.skip(str(error))
    return [str(python), "-m", "awscli"]


def test_uploads_by_a_signed_put(deployed: Deployment, aws_cli: list[str]) -> None:
    """``aws cloudfront sign`` with the own key, then PUT; a ticket of ``oncegate ticket --put`` makes it store once."""
    site, private = deployed.site, deployed.folder / "private.pem"
    public = (deployed.folder / "public.pem").read_text().strip()
    (key_id,) = [path.stem for path in (deployed.folder / "keys").glob("*.pem") if path.read_text().strip() == public]
    traditional = subprocess.run(
        ["openssl", "rsa", "-in", str(private), "-traditional"], capture_output=True, check=True
    ).stdout  # the command takes no other form
    (deployed.folder / "rsa.pem").write_bytes(traditional)

    def sign(url: str) -> str:
        command = [
            *(*aws_cli, "cloudfront", "sign", "--url", url, "--key-pair-id", key_id),
            *("--private-key", f"file://{deployed.folder / 'rsa.pem'}"),
            *("--date-less-than", (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()

    ticket = oncegate("ticket", "--put").strip()
    url = sign(f"{site.url('inbox/test.txt')}?{ticket}")
    form = {"content_type": "application/x-www-form-urlencoded", "x_amz_acl": "public-read"}
    assert site.ask("PUT", url, body=b"hello", headers=form).status == 200
    assert deployed.stored("inbox/test.txt") == b"hello"
    assert "x-amz-acl" not in site.seen[-1].sent_headers, "there it reached the bucket"
    # there the link replaced the object until it expired, and was good for every other method
    assert site.ask("PUT", url, body=b"other").status == 403
    assert site.ask("DELETE", url).status == 403
    assert deployed.stored("inbox/test.txt") == b"hello"
    assert site.ask("PUT", sign(f"{site.url('inbox/test.txt')}?{oncegate('ticket', '--put').strip()}")).status in (
        411,
        412,
    )
    assert site.ask("PUT", sign(site.url("inbox/plain.txt")), body=b"x").status == 403, "a link without a ticket"
    assert (
        site.ask("PUT", sign(f"{site.url('private/x')}?{oncegate('ticket', '--put').strip()}"), body=b"x").status == 403
    )
    # limits stand in the URL that is signed
    limited = sign(f"{site.url('inbox/small')}?{oncegate('ticket', '--put').strip()}&once-max=3")
    assert site.ask("PUT", limited, body=b"four").status == 413
    assert site.ask("PUT", limited, body=b"3by").status == 200
