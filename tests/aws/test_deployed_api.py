"""The API as 'oncegate aws deploy' makes it: its bundle in the emulator's Lambda, behind the emulator's HTTP API."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
from tests.aws.conftest import PARTS

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.referee.deployed import serve_deployed
from oncegate.aws.referee.served import Served
from oncegate.aws.stacks.api_routes import ROUTES
from oncegate.aws_requests.signature import AwsCredentials, SigningScope, signed_headers
from oncegate.testing.servers.aws import ACCOUNT, AwsEmulator

NAME, REGION, BUCKET = "withapi", "eu-central-1", "withapi-objects"
DEPLOY = ("aws", "deploy", NAME, "--home", REGION, "--bucket", BUCKET, "--api-cors", "https://app.example.com", "--yes")
ID = "AZtHgdIAcACAAAAAAAAAAA"


def oncegate(*arguments: str, status: int = 0) -> str:
    """Run the command; return what it wrote to stdout, or to stderr where that is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "oncegate", *arguments],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:{PARTS / 'uv' / 'bin'}"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real one, with wheels for the Python that the emulator runs functions with."""
    path = tmp_path_factory.mktemp("bundle") / "api.zip"
    oncegate("aws", "bundle", str(path), "--python", f"{sys.version_info[0]}.{sys.version_info[1]}")
    return path


@pytest.fixture(scope="module")
def folder(aws: AwsEmulator, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The deployment, and the folder that the command wrote."""
    folder = tmp_path_factory.mktemp(NAME)
    said = oncegate(*DEPLOY, "--bundle", str(bundle), "--folder-here", str(folder))
    assert "API http" in said
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    """The distribution behind the referee."""
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as served:
        yield served


class Reply(NamedTuple):
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Client:
    """Calls the deployed API."""

    def __init__(self, emulator: AwsEmulator, endpoint: str) -> None:
        self._place = urlsplit(emulator.url)
        self._host = urlsplit(endpoint).netloc

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        is_signed: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a call, by IAM."""
        content = b"" if body is None else json.dumps(body).encode()
        given = {"host": self._host, "content-type": "application/json", **(headers or {})}
        if is_signed:
            path, _, query = target.partition("?")
            given = dict(
                signed_headers(
                    method, path=path, query=query, headers=given, payload_sha256=hashlib.sha256(content).hexdigest(),
                    credentials=AwsCredentials(ACCOUNT, "emulated", ""),
                    scope=SigningScope(region=REGION, service="execute-api"), now_s=int(time.time()),
                )
            )  # fmt: skip
        connection = http.client.HTTPConnection(self._place.hostname or "", self._place.port, timeout=120)
        try:
            connection.request(method, target, body=content, headers=given)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def api(aws: AwsEmulator, folder: Path) -> Client:
    """Calls the deployed API."""
    return Client(aws, json.loads(oncegate("aws", "outputs", NAME))["ApiEndpoint"])


def lay(key: str, data: bytes = b"the object") -> str:
    """An object in the deployed bucket."""
    s3: Any = boto3.client("s3", region_name=REGION)
    s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    return key


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_answers_who_is_not_signed(api: Client, route: str) -> None:
    """F0.15, F1.17, F3.6: 403 from the authorizer, before the function runs."""
    method, _, path = route.partition(" ")
    assert api.ask(method, path.replace("{id}", ID), is_signed=False).status == 403


def test_what_has_no_route_is_not_there(api: Client) -> None:
    """Of a process, or of nothing."""
    for target in ("/metrics", "/healthz", "/docs", "/"):
        assert api.ask("GET", target).status == 404


def test_a_link_made_by_a_call_opens_once(api: Client, site: Served) -> None:
    """Made, listed, opened through CloudFront, shown as used, by every part of the deployment together."""
    made = api.ask("POST", "/v1/links", {"key": lay("made.txt"), "label": "for Ada"})
    assert made.status == 201, made.body
    link = made.json
    assert api.ask("GET", f"/v1/links/{link['id']}").json["state"] == "issued"
    explained = api.ask("POST", "/v1/explain", {"url": link["url"]}).json
    assert explained["admitted"] is True
    assert site.get(link["url"]).body == b"the object"
    assert site.get(link["url"]).status == 403
    assert api.ask("POST", "/v1/explain", {"url": link["url"]}).json["admitted"] is False
    assert link["id"] in [each["id"] for each in api.ask("GET", "/v1/links").json["links"]]


def test_the_same_order_by_the_same_caller_is_one_link(api: Client) -> None:
    """The caller's secret is the deployment's, so another instance of the function finds the same link."""
    headers = {"idempotency-key": "order-7"}
    first, second = (api.ask("POST", "/v1/links", {"key": "a"}, headers=headers).json["id"] for _ in range(2))
    assert first == second


def test_a_link_is_revoked_by_a_call(api: Client, site: Served) -> None:
    """The edge refuses it from then on."""
    link = api.ask("POST", "/v1/links", {"key": lay("revoked.txt"), "label": "x"}).json
    assert api.ask("DELETE", f"/v1/links/{link['id']}").status in (200, 204)
    refused = site.get(link["url"])
    assert refused.status == 403
    assert b"revoked" in refused.body


def test_objects_are_listed_by_pages(api: Client) -> None:
    """With nothing of the deployment's own among them."""
    for number in range(3):
        lay(f"listed/{number}")
    page = api.ask("GET", "/v1/objects?prefix=listed/&limit=2").json
    assert [each["key"] for each in page["objects"]] == ["listed/0", "listed/1"]
    rest = api.ask("GET", f"/v1/objects?prefix=listed/&after={page['next']}").json
    assert [each["key"] for each in rest["objects"]] == ["listed/2"]
    keys = [each["Key"] for each in api.ask("GET", "/v1/s3objects").json]
    assert not [key for key in keys if key.startswith("oncegate")]


def test_the_older_calls_answer_in_their_shapes(api: Client, site: Served) -> None:
    """F0.1, F0.2, F1.1, F1.2, F3.1, F3.2: and their links open once at the distribution."""
    lay("older a.txt")
    url = api.ask("GET", "/get-url?key=older%20a.txt")
    assert (url.status, list(url.json)) == (200, ["url"])
    assert site.get(url.json["url"]).body == b"the object"
    assert site.get(url.json["url"]).status == 403
    bad = api.ask("GET", "/get-url")
    assert (bad.status, bad.body) == (400, b"Bad request")
    for path in ("/urls", "/v1/urls"):
        signed = api.ask("POST", path, {"file": "older a.txt"})
        assert (signed.status, list(signed.json)) == (201, ["signedUrl"])
    upload = api.ask("GET", "/url")
    assert upload.headers["content-type"].startswith("text/plain")
    assert upload.body.startswith(b"https://")
    assert b"/uploads/" in upload.body
    for path in ("/s3objects", "/v1/s3objects"):
        listed = api.ask("GET", path)
        assert listed.status == 200
        assert listed.json[0].keys() == {"Key", "LastModified", "ETag", "Size", "StorageClass"}


def test_head_makes_no_upload_link(api: Client) -> None:
    """F1.17: the published design made one by HEAD too."""
    assert api.ask("HEAD", "/url").status == 405


def test_the_document_is_the_listeners(api: Client) -> None:
    """Clients are made from one document."""
    answered = api.ask("GET", "/openapi.json")
    assert answered.status == 200
    assert "/v1/links" in answered.json["paths"]
    assert api.ask("GET", "/readyz").status == 200
    assert api.ask("GET", "/v1/events").status == 501


def test_wrong_calls_are_problems(api: Client) -> None:
    """As at the listener: a body that is no order, a key that no link can hold, a link that nobody knows."""
    assert api.ask("POST", "/v1/links", {"kee": "a"}).status == 422
    assert api.ask("POST", "/v1/links", {"key": "../a"}).status == 422
    unknown = api.ask("GET", f"/v1/links/{ID}")
    assert unknown.status == 404
    assert unknown.headers["content-type"].startswith("application/problem+json")


def invoke(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Invoke the function itself."""
    client: Any = boto3.client("lambda", region_name=REGION)
    answered = client.invoke(FunctionName=f"{NAME}-api", Payload=json.dumps(event).encode())
    return {"is_error": "FunctionError" in answered, "payload": json.loads(answered["Payload"].read())}


def test_a_direct_invocation_returns_a_link_that_opens_once(folder: Path, site: Served) -> None:
    """F2.1, F2.8, F2.10: the published signer's event; UTC, escaped, and once."""
    lay("direct é.txt")
    end = datetime.now(UTC) + timedelta(minutes=5)
    names = ("Year", "Month", "Day", "Hour", "Minute", "Second", "Micro")
    values = (end.year, end.month, end.day, end.hour, end.minute, end.second, end.microsecond)
    event = {"fileName": "direct é.txt", **dict(zip(names, map(str, values), strict=True))}
    url = invoke(event)["payload"]
    assert f"Expires={int(end.timestamp())}&" in url
    assert site.get(url).body == b"the object"
    assert site.get(url).status == 403
    scheduled = invoke({"version": "0", "detail-type": "link", "source": "app", "detail": event})["payload"]
    assert site.get(scheduled).status == 200
    refused = invoke({**event, "Month": "13"})
    assert refused["is_error"]
    assert "Year" in refused["payload"]["errorMessage"]


def test_a_second_run_changes_nothing(folder: Path, bundle: Path) -> None:
    """Neither stack, nor code."""
    said = oncegate(*DEPLOY, "--bundle", str(bundle), "--folder-here", str(folder))
    assert "nothing to change" in said


def test_one_bundle_lies_in_its_bucket(folder: Path) -> None:
    """The one that runs: CloudFormation takes a step back by it."""
    cloudformation: Any = boto3.client("cloudformation", region_name=REGION)
    (stack,) = cloudformation.describe_stacks(StackName=f"{NAME}-home")["Stacks"]
    (code,) = [each["OutputValue"] for each in stack["Outputs"] if each["OutputKey"] == "CodeBucket"]
    s3: Any = boto3.client("s3", region_name=REGION)
    assert len(s3.list_objects_v2(Bucket=code)["Contents"]) == 1


def test_status_names_the_api(folder: Path) -> None:
    """Where it answers."""
    assert "ok    api" in oncegate("aws", "status", NAME)


def test_smoke_finds_everything_well(folder: Path, site: Served) -> None:
    """Against the referee, with the same numbers as on an account; its objects are gone afterwards."""
    arguments = ("aws", "smoke", NAME, "--folder-here", str(folder), "--through", f"127.0.0.1:{site.port}")
    said = oncegate(*arguments).splitlines()
    assert [line.split()[0] for line in said] == [*["ok"] * 10, "not", "ok"], said
    s3: Any = boto3.client("s3", region_name=REGION)
    assert not [each for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()) if "smoke" in each["Key"]]


def test_the_function_is_told_of_a_rotation(folder: Path, bundle: Path, api: Client) -> None:
    """Links that it signs before and after the switch both open; afterwards it signs by the new key."""
    here = ("--folder-here", str(folder), "--yes")
    lay("turned.txt")
    before = [api.ask("GET", "/get-url?key=turned.txt").json["url"] for _ in range(2)]
    oncegate("aws", "rotate", "start", NAME, *here)
    oncegate("aws", "rotate", "switch", NAME, *here)
    after = api.ask("GET", "/get-url?key=turned.txt").json["url"]
    assert after.partition("Key-Pair-Id=")[2] != before[0].partition("Key-Pair-Id=")[2]
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as served:
        assert served.get(before[0]).status == 200
        assert served.get(after).status == 200
    assert "nothing to change" in oncegate(
        *DEPLOY, "--bundle", str(next(folder.parent.glob("**/api.zip"), "")), *here[:2]
    )


def test_the_api_is_taken_away_and_the_rest_stays(folder: Path) -> None:
    """Options that were added and removed again leave the same stacks; the code's bucket goes with its code."""
    without = [each for each in DEPLOY if each not in ("--api-cors", "https://app.example.com")]
    oncegate(*without, "--api", "none", "--folder-here", str(folder))
    assert "ok    api" not in oncegate("aws", "status", NAME)
    assert "nothing to change" in oncegate(*without, "--api", "none", "--folder-here", str(folder))
