"""Two homes in two Regions, deployed by the command: each link is decided by its own table, and by no other."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.aws.aws_proxy import AwsProxy

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.referee.deployed import serve_deployed
from oncegate.aws.referee.served import Served
from oncegate.settings import load
from oncegate.testing.servers.aws import AwsEmulator

NAME, FIRST, SECOND, BUCKET = "homes", "eu-central-1", "us-west-2", "homes-objects"
HOMES = ("--home", f"eu={FIRST}", "--home", f"us={SECOND}", "--bucket", BUCKET, "--api", "none")


@pytest.fixture(scope="module")
def proxy(aws: AwsEmulator) -> Iterator[AwsProxy]:
    """What stands between every program here and AWS, so that a Region can be out of reach."""
    with AwsProxy(aws.url) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


@pytest.fixture(scope="module")
def folder(proxy: AwsProxy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The deployment, and the folder that the command wrote."""
    folder = tmp_path_factory.mktemp(NAME)
    oncegate("aws", "deploy", NAME, *HOMES, "--yes", "--folder-here", str(folder))
    s3: Any = boto3.client("s3", region_name=FIRST)
    s3.put_object(Bucket=BUCKET, Key="a.txt", Body=b"the object")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Served]:
    """The deployment behind the referee."""
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as served:
        yield served


@pytest.fixture(autouse=True)
def mended(proxy: AwsProxy) -> Iterator[None]:
    """Every Region answers again after each test."""
    yield
    proxy.down.clear()


def oncegate(*arguments: str, status: int = 0) -> str:
    """Run the command; return what it wrote to stdout, or to stderr where that is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "oncegate", *arguments],
        env=dict(os.environ), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


def command(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run a command with the configuration that the deployment wrote."""
    return oncegate("--config", str(folder / "oncegate.toml"), *arguments, status=status)


def link(folder: Path, home: str, key: str = "a.txt", *more: str) -> str:
    """A fresh link of a home."""
    return command(folder, "link", key, "--home", home, *more).strip()


def id_of(url: str) -> str:
    """The id of a link, as commands take it."""
    return url.partition("once=g.")[2][:22]


def test_the_configuration_that_was_written_knows_every_home(folder: Path) -> None:
    """So that links of each can be made, found and revoked with it."""
    settings = load(folder / "oncegate.toml", {})
    assert settings.links.home == "eu"
    assert dict(settings.ledger.homes) == {"us": f"dynamodb://{NAME}?region={SECOND}"}


def test_a_link_is_counted_in_its_own_table_alone(folder: Path, site: Served, proxy: AwsProxy) -> None:
    """A second table that had to agree would have to be asked across the world."""
    assert site.get(link(folder, "eu")).status == 200, "an instance reads the birth of every table when it starts"
    url = link(folder, "us")
    proxy.calls.clear()
    assert site.get(url).body == b"the object"
    assert site.get(url).status == 403
    assert {call.region for call in proxy.calls if call.service == "dynamodb"} == {SECOND}
    assert b"This link has been used" in site.get(url).body
    assert "claimed" in command(folder, "status", url)
    assert "claimed" in command(folder, "status", id_of(url))


@pytest.mark.parametrize(("down", "up"), [("eu", "us"), ("us", "eu")])
def test_a_home_that_is_down_is_503_for_its_links_and_nothing_to_the_others(
    folder: Path, site: Served, proxy: AwsProxy, down: str, up: str
) -> None:
    """Also for an instance that starts while it is down."""
    lost, fine = link(folder, down), link(folder, up)
    proxy.down.add(("dynamodb", {"eu": FIRST, "us": SECOND}[down]))
    began = time.monotonic()
    refused = site.get(lost)
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert time.monotonic() - began < 5.0
    assert site.get(fine).body == b"the object"
    assert site.get(fine).status == 403
    with contextlib.closing(serve_deployed(Cloud(), NAME)) as fresh:
        assert fresh.get(link(folder, up)).body == b"the object"
    proxy.down.clear()
    assert site.get(lost).status == 200, "untouched, or kept for the request that comes next"
    assert site.get(lost).status == 403


def test_a_link_is_found_and_revoked_while_the_other_home_is_down(folder: Path, site: Served, proxy: AwsProxy) -> None:
    """By its URL its own ledger alone is asked; by its id it is found where its record is."""
    by_url, by_id = link(folder, "us"), link(folder, "us")
    assert site.get(by_id).status == 200
    proxy.down.add(("dynamodb", FIRST))
    assert "revoked" in command(folder, "revoke", by_url)
    assert "revoked" in command(folder, "revoke", id_of(by_id))
    assert b"revoked" in site.get(by_url).body
    assert "home us" not in command(folder, "status", by_url)


def test_an_id_that_nobody_opened_is_revoked_in_both(folder: Path, site: Served) -> None:
    """Any of the homes may be the link's."""
    url = link(folder, "us")
    assert command(folder, "revoke", id_of(url)).count("revoked") >= 2
    assert b"revoked" in site.get(url).body


def test_lists_and_the_check_up_have_both(folder: Path, site: Served) -> None:
    """``links`` in one order, ``doctor`` part by part."""
    urls = [link(folder, home) for home in ("us", "eu", "us")]
    for url in urls:
        assert site.get(url).status == 200
    listed = [line[:22] for line in command(folder, "links").splitlines()]
    assert [each for each in listed if each in {id_of(url) for url in urls}] == [id_of(url) for url in urls]
    assert "home us: dynamodb: is fit" in command(folder, "doctor")


def test_a_home_that_is_not_deployed_is_refused(folder: Path, site: Served) -> None:
    """By the edge, by the command, and when a link is to be made for it."""
    assert "no home 'ap'" in command(folder, "link", "a.txt", "--home", "ap", status=2)
    config = folder / "elsewhere.toml"
    config.write_text((folder / "oncegate.toml").read_text().replace("\nus = ", "\nap = "))
    url = oncegate("--config", str(config), "link", "a.txt", "--home", "ap").strip()
    assert site.get(url).status == 403
    assert "another ledger" in command(folder, "status", url, status=1)


def test_the_template_of_each_home_is_printed(folder: Path) -> None:
    """For who applies them by other means: the second has a table and nothing of the first one's."""
    printed = oncegate("aws", "template", NAME, *HOMES, "--signing", "kms", "--stack", "home", "--of", SECOND)
    assert '"AWS::DynamoDB::Table"' in printed
    assert '"AWS::S3::Bucket"' not in printed
    assert '"AWS::S3::Bucket"' in oncegate("aws", "template", NAME, *HOMES, "--stack", "home")
    oncegate("aws", "template", NAME, *HOMES, "--stack", "home", "--of", "eu-west-3", status=2)
    arn = "arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE"
    assert arn in oncegate("aws", "template", NAME, *HOMES, "--stack", "home", "--for-distribution", arn)
