"""What 'oncegate aws status' says of a deployment, on an emulator: as it stands, and after somebody changed a part."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from tests.aws.conftest import CODE, public_pems
from tests.aws.test_deployer import REGION, Told, options_of

from oncegate.aws.deploying.birth import note_birth
from oncegate.aws.deploying.checks import Check, checks_of
from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.deploying.stacks import FORMAT, FORMAT_TAG, TAG, Stacks
from oncegate.aws.stacks.edge import CLAIM_KEY, edge_template
from oncegate.aws.stacks.options import EDGE_REGION, Options
from oncegate.testing.servers.aws import AwsEmulator

Change = Callable[[dict[str, Any]], None]


def client(service: str, region: str = EDGE_REGION) -> Any:
    """Another program's way to AWS."""
    return boto3.client(service, region_name=region)


@pytest.fixture(scope="module")
def deployed(aws: AwsEmulator) -> Options:
    """A deployment that stands, its birth noted."""
    options = options_of()
    Told(options).deploy()
    note_birth(options.name, REGION)
    return options


def look(options: Options, *, code: str = CODE, distribution: str = "") -> list[Check]:
    """Every check."""
    cloud = Cloud()
    edge = Stacks(cloud, options.name, stage=str).find(options.edge_stack, EDGE_REGION)
    assert edge is not None
    return list(checks_of(cloud, options.name, edge, code=code, distribution=distribution))


def wrong(options: Options, **more: Any) -> list[str]:
    """What is not as it is to be, in words."""
    return [check.words for check in look(options, **more) if not check.is_well]


@pytest.fixture
def distribution(deployed: Options) -> Iterator[Callable[[Change], None]]:
    """Change the deployed distribution as a console would; at the end it is as it was."""
    distribution_id = (
        Stacks(Cloud(), deployed.name, stage=str).find(deployed.edge_stack, EDGE_REGION).outputs["DistributionId"]
    )
    before = client("cloudfront").get_distribution_config(Id=distribution_id)["DistributionConfig"]

    def apply(config: dict[str, Any]) -> None:
        etag = client("cloudfront").get_distribution_config(Id=distribution_id)["ETag"]
        client("cloudfront").update_distribution(Id=distribution_id, IfMatch=etag, DistributionConfig=config)

    def change(change: Change) -> None:
        config = copy.deepcopy(before)
        change(config)
        apply(config)

    yield change
    apply(before)


def test_what_was_deployed_is_well(deployed: Options) -> None:
    """Every part is named: both behaviours, the key, the home and its birth, the code."""
    found = look(deployed)
    assert all(check.is_well for check in found), found
    assert [check.part for check in found] == ["edge", "function", "key", "home", "behaviour", "behaviour"]
    words = "\n".join(check.words for check in found)
    assert "inbox/*  as it is to be" in words
    assert "born 20" in words


def test_code_of_another_version_is_said(deployed: Options) -> None:
    """Whoever updated oncegate must deploy before the edge decides by its rules."""
    (words,) = wrong(deployed, code=CODE + "# newer")
    assert "of another version" in words


def default(config: dict[str, Any]) -> dict[str, Any]:
    """The default behaviour."""
    found: dict[str, Any] = config["DefaultCacheBehavior"]
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: default(c).update(TrustedKeyGroups={"Enabled": False, "Quantity": 0}), "does not trust this key group"),
        (lambda c: default(c).update(ViewerProtocolPolicy="allow-all"), "over http"),
        (lambda c: default(c).update(Compress=True), "compresses"),
        (lambda c: default(c).update(CachePolicyId="658327ea-f89d-4fab-a63d-7e88639e58f6"), "caches"),
        (lambda c: default(c).update(OriginRequestPolicyId="216adef6-5c7f-47e4-b989-5492eafa07d3"), "request policy"),
        (lambda c: default(c).update(ResponseHeadersPolicyId="67f7725c-6f97-4210-82d7-5512b31e9d03"), "policy for headers"),
        (lambda c: c.update(CustomErrorResponses={"Quantity": 0}), "are kept for 10 s"),
        (lambda c: default(c)["LambdaFunctionAssociations"]["Items"].pop(), "no "),
    ],
)  # fmt: skip
def test_a_behaviour_that_was_changed_is_named(
    deployed: Options, distribution: Callable[[Change], None], change: Change, words: str
) -> None:
    """Each of these lets a link open that nobody signed, or twice, or swallows its use."""

    def count(config: dict[str, Any]) -> None:
        change(config)
        functions = default(config)["LambdaFunctionAssociations"]
        functions["Quantity"] = len(functions.get("Items", []))

    distribution(count)
    (said,) = wrong(deployed)
    assert words in said


def test_a_key_that_was_added_by_hand_is_named(deployed: Options) -> None:
    """Whoever has its private half makes links that the edge opens."""
    edge = Stacks(Cloud(), deployed.name, stage=str).find(deployed.edge_stack, EDGE_REGION)
    assert edge is not None
    config = {"CallerReference": "by hand", "Name": "by-hand", "EncodedKey": public_pems()[1]}
    added = client("cloudfront").create_public_key(PublicKeyConfig=config)["PublicKey"]["Id"]
    group_id = edge.outputs["KeyGroup"]
    before = client("cloudfront").get_key_group(Id=group_id)
    group = before["KeyGroup"]["KeyGroupConfig"]
    changed = {**group, "Items": [*group["Items"], added]}
    after = client("cloudfront").update_key_group(Id=group_id, IfMatch=before["ETag"], KeyGroupConfig=changed)
    (said,) = wrong(deployed)
    assert added in said
    client("cloudfront").update_key_group(Id=group_id, IfMatch=after["ETag"], KeyGroupConfig=group)
    assert not wrong(deployed)


def test_a_table_without_a_birth_is_named(aws: AwsEmulator) -> None:
    """The edge answers 503 for every link of it."""
    options = options_of()
    Told(options).deploy()
    (said,) = wrong(options)
    assert "no birth" in said
    note_birth(options.name, REGION)
    assert not wrong(options)


def test_a_distribution_of_ones_own_is_looked_at(deployed: Options, aws: AwsEmulator) -> None:
    """Its other behaviours are none of ours; those that run the function must be whole."""
    options = options_of(makes_distribution=False, signing="own", public_keys=public_pems()[:1])
    client("cloudformation").create_stack(
        StackName=options.edge_stack,
        TemplateBody=json.dumps(edge_template(options, CODE)),
        Parameters=[{"ParameterKey": CLAIM_KEY, "ParameterValue": "x" * 43}],
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": TAG, "Value": options.name}, {"Key": FORMAT_TAG, "Value": str(FORMAT)}],
    )
    assert "name the one that carries it by --distribution" in "\n".join(wrong(options))
    edge = Stacks(Cloud(), options.name, stage=str).find(options.edge_stack, EDGE_REGION)
    other = Stacks(Cloud(), deployed.name, stage=str).find(deployed.edge_stack, EDGE_REGION)
    assert edge is not None
    assert other is not None
    config = client("cloudfront").get_distribution_config(Id=other.outputs["DistributionId"])["DistributionConfig"]
    text = json.dumps(config)
    for output in ("FunctionVersion", "KeyGroup", "HeadersPolicy", "DownloadPolicy", "UploadPolicy"):
        text = text.replace(other.outputs[output], edge.outputs[output])
    config = {**json.loads(text), "CallerReference": "my own"}
    plain = {"TargetOriginId": "objects", "ViewerProtocolPolicy": "allow-all", "PathPattern": "site/*"}
    config["CacheBehaviors"]["Items"].append({**plain, "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"})
    config["CacheBehaviors"]["Quantity"] += 1
    own = client("cloudfront").create_distribution(DistributionConfig=config)["Distribution"]["Id"]
    found = [check for check in look(options, distribution=own) if check.part == "behaviour"]
    assert [check.words for check in found] == [
        "*  as it is to be", "inbox/*  as it is to be", "site/*  not of this deployment",
    ]  # fmt: skip
