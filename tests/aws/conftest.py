"""What tests of the AWS deployment share: keys, and deployments of every combination of options."""

from __future__ import annotations

import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from oncegate.aws.stacks.edge import edge_template
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options import Home, Options
from oncegate.keys.pem import new_key_pair
from oncegate.testing.servers.aws import AwsEmulator

CODE = """
def handler(event, context):
    cf = event["Records"][0]["cf"]
    return cf.get("response") or cf["request"]
"""
DISTRIBUTION = "arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE"
DOMAIN = {"domain": "links.example.com", "certificate": "arn:aws:acm:us-east-1:111122223333:certificate/abc"}
TOPIC = "arn:aws:sns:us-east-1:111122223333:alarms"


@functools.cache
def public_pems() -> tuple[str, str]:
    """Two public keys, one of each kind."""
    return new_key_pair("ecdsa")[1].decode(), new_key_pair("rsa")[1].decode()


@dataclass(frozen=True)
class Deployment:
    """Options, and the templates that are written from them."""

    options: Options
    homes: Sequence[Mapping[str, Any]]
    edge: Mapping[str, Any]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """The properties of every resource of a kind, in all stacks."""
        stacks = (*self.homes, self.edge)
        found = [each for stack in stacks for each in stack["Resources"].values()]
        return [each["Properties"] for each in found if each["Type"] == f"AWS::{kind}"]

    @property
    def behaviours(self) -> list[Mapping[str, Any]]:
        """Every behaviour of the distribution."""
        configs = [each["DistributionConfig"] for each in self.of("CloudFront::Distribution")]
        return [each for config in configs for each in (config["DefaultCacheBehavior"], *config["CacheBehaviors"])]


def deployment_of(**options: Any) -> Deployment:
    """The templates of one set of options."""
    given = {"name": "acme", "homes": (Home("eu-central-1"),), "bucket": "acme-objects", "public_keys": public_pems()}
    made = Options(**{**given, **options})
    homes = tuple(home_template(made, home, distribution_arn=DISTRIBUTION) for home in made.homes)
    return Deployment(made, homes, edge_template(made, CODE))


def lint(paths: Sequence[pathlib.Path]) -> list[Any]:
    """What cfn-lint finds in templates; an error of its own is no finding, and fails here."""
    program = pathlib.Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [program, "--format", "json", *map(str, paths)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


CHOICES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "homes": ({}, {"homes": (Home("eu-central-1"), Home("us-east-1", "b"))}),
    "bucket": ({}, {"makes_bucket": False}, {"is_versioned": True, "folder": "/public"}),
    "uploads": ({}, {"uploads": ()}, {"uploads": ("inbox/", "from/people/")}),
    "signing": ({}, {"signing": "own", "public_keys": public_pems()[:1]}),
    "front": ({}, DOMAIN, {**DOMAIN, "zone": "Z1", "alarm_topic": TOPIC}, {"makes_distribution": False}),
    "words": ({}, {"cors_origins": ("https://app.example.com",), "confirm": "never", "plain_links": "allow"}),
}


@pytest.fixture(scope="session")
def deployments() -> Sequence[Deployment]:
    """One deployment of each combination of options."""
    return [
        deployment_of(**{name: value for each in combination for name, value in each.items()})
        for combination in itertools.product(*CHOICES.values())
    ]


PARTS = pathlib.Path(__file__).parents[2] / ".parts"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsEmulator]:
    """An emulator of AWS for all tests here; deployments have names of their own."""
    try:
        made = AwsEmulator(tmp_path_factory.mktemp("aws"), parts=PARTS)
    except RuntimeError as error:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            raise
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(scope="module")
def aws(emulator: AwsEmulator) -> Iterator[AwsEmulator]:
    """The emulator, found by the variables that every AWS tool reads; no longer than a module, or others would find it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.environ.items():
            patch.setenv(name, value)
        yield emulator
