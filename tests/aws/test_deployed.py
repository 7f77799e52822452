"""From 'oncegate aws deploy' to a link that opens once: the command line, an emulator, and the referee in front of it."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.referee.bucket_policy import allows
from oncegate.aws.referee.deployed import serve_deployed
from oncegate.aws.referee.served import Served
from oncegate.testing.installation import free_port
from oncegate.testing.servers.aws import AwsEmulator

NAME, REGION, BUCKET = "acme", "eu-central-1", "acme-objects"
DEPLOY = ("aws", "deploy", NAME, "--home", REGION, "--bucket", BUCKET, "--api", "none", "--yes")


def oncegate(*arguments: str, status: int = 0) -> str:
    """Run the command; return what it wrote to stdout, or to stderr where that is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "oncegate", *arguments],
        env=dict(os.environ), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture(scope="module")
def folder(aws: AwsEmulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment, made by the command, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("acme")
    said = oncegate(*DEPLOY, "--folder-here", str(folder))
    assert "wrote" in said
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    """The deployment behind the referee."""
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as served:
        yield served


def link(folder: Path, key: str, *more: str) -> str:
    """A link, signed by KMS."""
    return oncegate("--config", str(folder / "oncegate.toml"), "link", key, *more).strip()


def lay(key: str, data: bytes = b"secret") -> str:
    """An object in the deployed bucket."""
    s3: Any = boto3.client("s3", region_name=REGION)
    s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    return key


def test_a_link_signed_by_kms_opens_once(folder: Path, site: Served) -> None:
    """With the configuration that the deployment wrote, and nothing else."""
    url = link(folder, lay("r é.pdf"))
    assert site.get(url).body == b"secret"
    again = site.get(url)
    assert again.status == 403
    assert b"This link has been used" in again.body


def test_of_eight_at_once_one_is_served(folder: Path, site: Served) -> None:
    """Over a table of DynamoDB, as each instance of the function sees it."""
    url = link(folder, lay("eight"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = collections.Counter(reply.status for reply in pool.map(lambda _: site.get(url), range(8)))
    assert statuses[200] == 1
    assert statuses[403] + statuses[503] == 7


def test_a_policy_for_an_address_and_a_beginning_holds(folder: Path, site: Served) -> None:
    """A custom policy is read by CloudFront and by the function."""
    key = lay("policy")
    assert site.get(link(folder, key, "--ip", "198.51.100.0/24")).code == "AccessDenied"
    assert site.get(link(folder, key, "--ip", "127.0.0.1")).status == 200


def test_an_upload_is_stored_once(folder: Path, site: Served) -> None:
    """Under the bucket's own policy, on a condition; then neither by this link nor by another."""
    url = link(folder, "inbox/new", "--put")
    assert site.ask("PUT", url, body=b"mine").status == 200
    assert site.ask("PUT", url, body=b"other").status == 403
    assert site.ask("PUT", link(folder, "inbox/new", "--put"), body=b"other").status == 412
    assert site.ask("PUT", link(folder, "elsewhere/new", "--put"), body=b"x").status in (403, 404)
    s3: Any = boto3.client("s3", region_name=REGION)
    assert s3.get_object(Bucket=BUCKET, Key="inbox/new")["Body"].read() == b"mine"


def test_a_missing_object_costs_no_use(folder: Path, site: Served) -> None:
    """The second trigger gives it back in the deployed table."""
    url = link(folder, "late")
    assert site.get(url).status == 404
    lay("late", b"now")
    assert site.get(url).body == b"now"


def test_the_other_commands_work_on_the_deployment(folder: Path, site: Served) -> None:
    """The ledger's birth is noted, so status, links, revoke and doctor find a ledger that is one."""
    config = ("--config", str(folder / "oncegate.toml"))
    url = link(folder, lay("revoked"))
    oncegate(*config, "revoke", url)
    assert b"revoked" in site.get(url).body
    assert "revoked" in oncegate(*config, "status", url)
    assert oncegate(*config, "links")
    said = oncegate("aws", "status", NAME)
    assert "WRONG" not in said
    assert "as of this version" in said
    assert "inbox/*  as it is to be" in said
    assert "dynamodb: is fit" in oncegate(*config, "doctor")
    assert '"DistributionArn"' in oncegate("aws", "outputs", NAME)


def test_the_deployed_policy_lets_in_the_distribution_on_its_conditions_alone(folder: Path) -> None:
    """As it stands in the bucket: nobody else, no other action, no upload without a condition or beside the prefixes."""
    s3: Any = boto3.client("s3", region_name=REGION)
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    arn = json.loads(oncegate("aws", "outputs", NAME))["DistributionArn"]
    ours = {"aws:sourcearn": arn, "aws:securetransport": "true"}
    once = {**ours, "s3:if-none-match": "*"}

    def lets(action: str, key: str, context: dict[str, str], service: str = "cloudfront.amazonaws.com") -> bool:
        return allows(policy, action=action, resource=f"arn:aws:s3:::{BUCKET}/{key}", context=context, service=service)

    assert lets("s3:GetObject", "a", ours)
    assert lets("s3:PutObject", "inbox/a", once)
    assert not lets("s3:PutObject", "inbox/a", ours), "without If-None-Match"
    assert not lets("s3:PutObject", "a", once), "outside the prefixes"
    assert not lets("s3:DeleteObject", "inbox/a", once)
    assert not lets("s3:GetObject", "a", {**ours, "aws:securetransport": "false"})
    assert not lets("s3:GetObject", "a", {**ours, "aws:sourcearn": f"{arn}X"}), "another distribution"
    assert not lets("s3:GetObject", "a", {"aws:securetransport": "true"}, service=""), "nobody in particular"


@contextlib.contextmanager
def control_api(folder: Path) -> Iterator[Callable[..., Any]]:
    """The control API of a gateway over the deployment's ledger and bucket: a function that calls it."""
    config = ("--config", str(folder / "oncegate.toml"))
    token = oncegate(*config, "tokens", "new", "test").strip()
    listen = {"ONCEGATE_VIEWER__LISTEN": f"127.0.0.1:{free_port()}", "ONCEGATE_CONTROL__LISTEN": "127.0.0.1:0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "oncegate", *config, "serve"],
        env={**os.environ, **listen}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        url = next(line.split()[2] for line in lines if line.startswith("control ready"))
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            yield lambda method, path, **body: client.request(method, path, json=body or None)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_link_with_a_label_is_one_at_the_edge_too(folder: Path, site: Served) -> None:
    """Its record stands before it is opened: the edge takes its use, as a gateway does, and refuses it when revoked."""
    with control_api(folder) as call:
        opened, revoked = (call("POST", "/v1/links", key=lay("labelled"), label=label).json() for label in ("a", "b"))
        assert {call("GET", f"/v1/links/{each['id']}").json()["state"] for each in (opened, revoked)} == {"issued"}
        assert call("DELETE", f"/v1/links/{revoked['id']}").json()["state"] == "revoked"
        assert site.get(opened["url"]).body == b"secret"
        assert b"This link has been used" in site.get(opened["url"]).body
        assert b"revoked" in site.get(revoked["url"]).body
        shown = call("GET", f"/v1/links/{opened['id']}").json()
        assert (shown["state"], shown["label"], shown["uses_taken"]) == ("claimed", "a", 1)
        assert {each["label"] for each in call("GET", "/v1/links").json()["links"]} >= {"a", "b"}


def test_a_second_run_changes_nothing(folder: Path) -> None:
    """As the command says it."""
    said = oncegate(*DEPLOY, "--folder-here", str(folder))
    assert "nothing to change" in said
    assert "wrote" not in said
    assert "nothing to change" in oncegate(*DEPLOY[:-1], "--dry-run", "--folder-here", str(folder))


def test_who_is_not_asked_deploys_nothing(aws: AwsEmulator) -> None:
    """A script without --yes must not change an account."""
    said = oncegate("aws", "deploy", "other", "--home", REGION, "--bucket", "other-objects", "--api", "none", status=2)
    assert "--yes" in said
    assert "there is no deployment" in oncegate("aws", "status", "other", status=1)


def opens(url: str) -> str:
    """What becomes of a link at the deployment as it stands: its status, or AWS's code."""
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as served:
        reply = served.get(url)
        return str(reply.status) if reply.status == 200 else reply.code


def finishes(here: tuple[str, ...]) -> bool:
    """Finish the rotation, where its time has come."""
    command = [sys.executable, "-m", "oncegate", "aws", "rotate", "finish", NAME, *here]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, check=False, timeout=120).returncode == 0


def test_a_rotation_ends_no_link_before_its_time(folder: Path, until: Callable[..., object]) -> None:
    """Links of the old key work until finish, finish waits for them, and then the old key is unknown."""
    here = ("--folder-here", str(folder), "--yes")
    lay("rotated")
    old = [link(folder, "rotated") for _ in range(4)]
    oncegate("aws", "rotate", "start", NAME, *here)
    assert opens(old[0]) == "200"
    assert "nothing to change" in oncegate(*DEPLOY, "--folder-here", str(folder)), "an ordinary run keeps both keys"
    oncegate("aws", "rotate", "switch", NAME, *here)
    new = link(folder, "rotated")
    assert opens(old[1]) == "200"
    assert opens(new) == "200"
    assert new.partition("Key-Pair-Id=")[2] != old[0].partition("Key-Pair-Id=")[2]
    assert "may be alive until" in oncegate("aws", "rotate", "finish", NAME, *here, status=2)
    assert opens(old[2]) == "200"
    config = folder / "oncegate.toml"
    config.write_text(config.read_text().replace("[links]\n", '[links]\nmax_lifetime = "1s"\n'))
    until(lambda: finishes(here), "a second has passed since the switch")
    assert opens(old[3]) == "InvalidKey"
    assert opens(link(folder, "rotated")) == "200"
    assert "nothing to change" in oncegate(*DEPLOY, "--folder-here", str(folder))


def test_the_command_serves_the_deployment_on_localhost(folder: Path) -> None:
    """Its links are for its own domain, which reaches the referee by a name that curl can be told."""
    url = link(folder, lay("local"))
    process = subprocess.Popen(
        [sys.executable, "-m", "oncegate", "aws", "dev", "--deployment", NAME, "--port", "0"],
        env=dict(os.environ), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        port = int(process.stderr.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        host, _, target = url.removeprefix("https://").partition("/")
        connection.request("GET", f"/{target}", headers={"Host": host})
        assert connection.getresponse().read() == b"secret"
        connection.close()
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert "stopped" in said
    assert process.returncode == 0


def test_the_command_takes_the_deployment_away_and_leaves_the_data(folder: Path) -> None:
    """The last test of this module: its links end."""
    said = oncegate("aws", "destroy", NAME, "--yes")
    assert "deleted" in said
    assert "there is no deployment" in oncegate("aws", "status", NAME, status=1)
    boto3.client("s3", region_name=REGION).head_bucket(Bucket=BUCKET)
    boto3.client("dynamodb", region_name=REGION).describe_table(TableName=NAME)
