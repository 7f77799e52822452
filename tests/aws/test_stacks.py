"""The stacks: what must hold of the templates, whatever the options are."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from tests.aws.conftest import CODE, DISTRIBUTION, DOMAIN, TOPIC, Deployment, deployment_of, lint, public_pems

from oncegate.aws.stacks.behaviours import CACHING_DISABLED
from oncegate.aws.stacks.edge import edge_template, key_output
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options import DeploymentUnfit, Home, Options
from oncegate.aws.stacks.template import TEMPLATE_BODY_MAX_BYTES, text_of
from oncegate.ledgers.dynamodb.table import _KEYS

ROOT = pathlib.Path(__file__).parents[2]
FRONT = {"Service": "cloudfront.amazonaws.com"}


def statements_of(deployment: Deployment) -> list[dict[str, Any]]:
    """The statements of the bucket's policy."""
    return [each for policy in deployment.of("S3::BucketPolicy") for each in policy["PolicyDocument"]["Statement"]]


# The distribution


def test_every_behaviour_asks_for_a_signature(deployments: Sequence[Deployment]) -> None:
    """One behaviour without a key group serves its paths to everyone (the published single-use sample has none)."""
    for deployment in deployments:
        for behaviour in deployment.behaviours:
            assert behaviour["TrustedKeyGroups"] == [{"Ref": "KeyGroup"}]


def test_every_behaviour_is_https_only(deployments: Sequence[Deployment]) -> None:
    """A link over plain HTTP is shown to everyone on its way (a published design allowed all)."""
    for deployment in deployments:
        for behaviour in deployment.behaviours:
            assert behaviour["ViewerProtocolPolicy"] == "https-only"


def test_every_behaviour_claims_and_settles_by_one_version(deployments: Sequence[Deployment]) -> None:
    """A path without viewer request is served twice; one without origin response never gives a use back."""
    for deployment in deployments:
        for behaviour in deployment.behaviours:
            triggers = {
                each["EventType"]: each["LambdaFunctionARN"] for each in behaviour["LambdaFunctionAssociations"]
            }
            assert triggers.keys() == {"viewer-request", "origin-response"}
            (version,) = {each["Ref"] for each in triggers.values()}
            assert deployment.edge["Resources"][version]["Type"] == "AWS::Lambda::Version"


def test_nothing_is_cached_nor_compressed(deployments: Sequence[Deployment]) -> None:
    """A cached object is served without the bucket, and two viewers at once could share one origin request."""
    for deployment in deployments:
        for behaviour in deployment.behaviours:
            assert behaviour["CachePolicyId"] == CACHING_DISABLED
            assert behaviour["Compress"] is False


def test_errors_are_kept_for_no_time(deployments: Sequence[Deployment]) -> None:
    """CloudFront keeps an error for 10 s: such an answer swallows a claim, and origin response does not give it back."""
    for deployment in deployments:
        for distribution in deployment.of("CloudFront::Distribution"):
            kept = distribution["DistributionConfig"]["CustomErrorResponses"]
            assert {each["ErrorCode"] for each in kept} >= {400, 403, 404, 416, 500, 502, 503, 504}
            assert {each["ErrorCachingMinTTL"] for each in kept} == {0}


def test_a_distribution_has_one_origin_and_no_origin_group(deployments: Sequence[Deployment]) -> None:
    """In an origin group the trigger runs twice: the object would be delivered, and its use given back."""
    for deployment in deployments:
        for distribution in deployment.of("CloudFront::Distribution"):
            config = distribution["DistributionConfig"]
            assert "OriginGroups" not in config
            assert [each["Id"] for each in config["Origins"]] == ["objects"]


def test_the_bucket_is_asked_by_its_regional_name(deployments: Sequence[Deployment]) -> None:
    """The global name redirects for hours after a bucket was made, and a redirect shows the bucket to viewers."""
    for deployment in deployments:
        for distribution in deployment.of("CloudFront::Distribution"):
            (origin,) = distribution["DistributionConfig"]["Origins"]
            assert origin["DomainName"] == "acme-objects.s3.eu-central-1.amazonaws.com"
            assert origin["OriginPath"] == deployment.options.folder


def test_the_origin_is_signed_for_always_by_oac(deployments: Sequence[Deployment]) -> None:
    """With OAI no PUT is possible everywhere; with 'no-override' a viewer's Authorization would reach the bucket."""
    for deployment in deployments:
        (access,) = deployment.of("CloudFront::OriginAccessControl")
        assert access["OriginAccessControlConfig"]["SigningBehavior"] == "always"
        for distribution in deployment.of("CloudFront::Distribution"):
            (origin,) = distribution["DistributionConfig"]["Origins"]
            assert origin["OriginAccessControlId"] == {"Ref": "OriginAccess"}
            assert origin["S3OriginConfig"] == {"OriginAccessIdentity": ""}


def test_what_reaches_the_bucket_is_an_allow_list(deployments: Sequence[Deployment]) -> None:
    """AllViewerExceptHostHeader passes x-amz-copy-source and x-amz-acl, which OAC would sign (a published design)."""
    for deployment in deployments:
        policies = deployment.of("CloudFront::OriginRequestPolicy")
        assert len(policies) == 1 + bool(deployment.options.uploads)
        for policy in policies:
            config = policy["OriginRequestPolicyConfig"]
            assert config["HeadersConfig"]["HeaderBehavior"] == "whitelist"
            names = [name.lower() for name in config["HeadersConfig"]["Headers"]]
            assert len(names) <= 10
            assert "x-oncegate-claim" in names
            assert all(name.startswith("x-amz-checksum-") for name in names if name.startswith("x-amz-"))
            assert config["CookiesConfig"] == {"CookieBehavior": "none"}
        for behaviour in deployment.behaviours:
            assert behaviour["OriginRequestPolicyId"] in ({"Ref": "DownloadRequest"}, {"Ref": "UploadRequest"})


def test_uploads_pass_the_condition_and_downloads_no_header(deployments: Sequence[Deployment]) -> None:
    """Without If-None-Match in the list the bucket refuses every upload; at origin request it cannot be set."""
    for deployment in deployments:
        resources = deployment.edge["Resources"]
        download = resources["DownloadRequest"]["Properties"]["OriginRequestPolicyConfig"]
        assert download["HeadersConfig"]["Headers"] == ["x-oncegate-claim"]
        if deployment.options.uploads:
            upload = resources["UploadRequest"]["Properties"]["OriginRequestPolicyConfig"]
            assert "If-None-Match" in upload["HeadersConfig"]["Headers"]
            assert upload["QueryStringsConfig"] == {"QueryStringBehavior": "none"}


def test_each_upload_prefix_is_a_behaviour(deployments: Sequence[Deployment]) -> None:
    """A prefix that has none goes by the policy of downloads, and its uploads come without their condition."""
    for deployment in deployments:
        for distribution in deployment.of("CloudFront::Distribution"):
            patterns = [each["PathPattern"] for each in distribution["DistributionConfig"]["CacheBehaviors"]]
            assert patterns == [f"{prefix}*" for prefix in deployment.options.uploads]


def test_answers_carry_headers_that_keep_links_and_objects_apart(deployments: Sequence[Deployment]) -> None:
    """A page among the objects would else run in the links' origin; a Referer would hand on the link."""
    for deployment in deployments:
        (policy,) = deployment.of("CloudFront::ResponseHeadersPolicy")
        config = policy["ResponseHeadersPolicyConfig"]
        security = config["SecurityHeadersConfig"]
        assert security["ReferrerPolicy"] == {"ReferrerPolicy": "no-referrer", "Override": True}
        assert security["ContentTypeOptions"] == {"Override": True}
        assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000
        assert security["ContentSecurityPolicy"]["ContentSecurityPolicy"].startswith("sandbox")
        assert security["ContentSecurityPolicy"]["Override"] is False, "pages of the function bring their own"
        (no_store,) = config["CustomHeadersConfig"]["Items"]
        assert no_store == {"Header": "Cache-Control", "Value": "private, no-store", "Override": True}
        assert ("CorsConfig" in config) == bool(deployment.options.cors_origins)
        for behaviour in deployment.behaviours:
            assert behaviour["ResponseHeadersPolicyId"] == {"Ref": "Headers"}


def test_origins_are_never_allowed_with_credentials(deployments: Sequence[Deployment]) -> None:
    """Any origin with credentials is invalid, and every site could read with a viewer's cookies (a published design)."""
    for deployment in deployments:
        (policy,) = deployment.of("CloudFront::ResponseHeadersPolicy")
        cors = policy["ResponseHeadersPolicyConfig"].get("CorsConfig", {"AccessControlAllowCredentials": False})
        assert cors["AccessControlAllowCredentials"] is False


def test_viewers_come_by_ipv4_and_modern_http(deployments: Sequence[Deployment]) -> None:
    """IpAddress of a policy is IPv4: over IPv6 such a link would open for nobody."""
    for deployment in deployments:
        for distribution in deployment.of("CloudFront::Distribution"):
            config = distribution["DistributionConfig"]
            assert config["IPV6Enabled"] is False
            assert config["HttpVersion"] == "http2and3"
            certificate = config["ViewerCertificate"]
            if deployment.options.domain:
                assert certificate["MinimumProtocolVersion"] == "TLSv1.2_2021"
                assert config["Aliases"] == [deployment.options.domain]
            else:
                assert certificate == {"CloudFrontDefaultCertificate": True}


# The function


def test_the_function_keeps_within_what_the_edge_takes(deployments: Sequence[Deployment]) -> None:
    """With variables, layers, tracing, ARM or more memory CloudFront refuses the function; 5 s is its oldest limit."""
    for deployment in deployments:
        (function,) = deployment.of("Lambda::Function")
        assert not function.keys() & {"Environment", "Layers", "TracingConfig", "VpcConfig", "DeadLetterConfig"}
        assert function["MemorySize"] == 128
        assert function["Timeout"] == 5
        assert function["Architectures"] == ["x86_64"]


def test_the_role_makes_two_calls_on_the_exact_tables(deployments: Sequence[Deployment]) -> None:
    """Whoever takes over the function must not read other tables, nor delete records, which would open links again."""
    for deployment in deployments:
        (role,) = deployment.of("IAM::Role")
        ledger, logs = (each["PolicyDocument"]["Statement"] for each in role["Policies"])
        assert [each["Action"] for each in ledger] == [["dynamodb:GetItem", "dynamodb:PutItem"]]
        tables = [each["Fn::Sub"] for each in ledger[0]["Resource"]]
        assert tables == [
            f"arn:${{AWS::Partition}}:dynamodb:{home.region}:${{AWS::AccountId}}:table/acme"
            for home in deployment.options.homes
        ]
        assert logs[0]["Resource"]["Fn::Sub"].endswith("log-group:/aws/lambda/us-east-1.acme-edge:*")
        assert "ManagedPolicyArns" not in role


def test_the_secret_of_claims_is_in_no_template(deployments: Sequence[Deployment]) -> None:
    """Who knows it forges a give-back; a template lies in repositories and change sets."""
    for deployment in deployments:
        parameter = deployment.edge["Parameters"]["ClaimKey"]
        assert parameter["NoEcho"] is True
        assert "Default" not in parameter
        (function,) = deployment.of("Lambda::Function")
        head, reference, tail = function["Code"]["ZipFile"]["Fn::Join"][1]
        assert reference == {"Ref": "ClaimKey"}
        ast.parse(head + "a" * 43 + tail)


def test_another_configuration_is_another_version() -> None:
    """A version never changes: under one name, an update would leave the old function in front of every link."""
    names = {
        next(name for name in deployment_of(**more).edge["Resources"] if name.startswith("Version"))
        for more in ({}, {"confirm": "never"}, {"plain_links": "allow"}, {"homes": (Home("eu-west-1"),)})
    }
    assert len(names) == 4
    template = edge_template(deployment_of().options, CODE + "# another\n")
    assert next(name for name in template["Resources"] if name.startswith("Version")) not in names


def test_another_key_is_another_resource() -> None:
    """EncodedKey can never be changed: an update in place fails, and the stack with it."""
    first, second = public_pems()
    one, other = deployment_of(public_keys=(first,)).edge, deployment_of(public_keys=(second,)).edge
    keys = [
        {name for name in stack["Resources"] if name.startswith("Key") and name != "KeyGroup"} for stack in (one, other)
    ]
    assert keys[0].isdisjoint(keys[1])
    assert key_output(first) in one["Outputs"]
    assert key_output(first) not in other["Outputs"]


def test_alarms_are_made_for_who_names_a_topic(deployments: Sequence[Deployment]) -> None:
    """An alarm that tells nobody is a row in a list; and a failing function is else seen by viewers alone."""
    for deployment in deployments:
        alarms = deployment.of("CloudWatch::Alarm")
        assert all(alarm["AlarmActions"] == [TOPIC] for alarm in alarms)
        metrics = {alarm["MetricName"] for alarm in alarms}
        if deployment.options.alarm_topic:
            assert metrics >= {"5xxErrorRate", "LambdaExecutionError", "LambdaLimitExceededError"}
        else:
            assert not metrics


# The homes


def test_what_holds_data_outlives_its_stack(deployments: Sequence[Deployment]) -> None:
    """A stack that is deleted by mistake must take no object, no key and no memory of used links with it."""
    kept = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Lambda::Function", "AWS::Lambda::Version"}
    for deployment in deployments:
        for stack in (*deployment.homes, deployment.edge):
            for each in stack["Resources"].values():
                if each["Type"] in kept:
                    assert each["DeletionPolicy"] == "RetainExceptOnCreate", "else a failed try takes the names"
                    assert each["UpdateReplacePolicy"] == "Retain"


def test_nothing_can_fail_after_the_table_was_made(deployments: Sequence[Deployment]) -> None:
    """It is protected from deletion, so a stack that fails after it cannot be rolled back."""
    for deployment in deployments:
        for home in deployment.homes:
            others = home["Resources"].keys() - {"Table"}
            assert set(home["Resources"]["Table"].get("DependsOn", ())) == others


def test_each_home_has_a_table_that_the_ledger_knows(deployments: Sequence[Deployment]) -> None:
    """With other keys the ledger refuses it; without protection one call ends every link's single use."""
    for deployment in deployments:
        for home in deployment.homes:
            table = home["Resources"]["Table"]["Properties"]
            assert {each["AttributeName"]: each["KeyType"] for each in table["KeySchema"]} == _KEYS
            assert table["BillingMode"] == "PAY_PER_REQUEST"
            assert table["DeletionProtectionEnabled"] is True
            assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
            assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


def test_bucket_and_key_stand_in_the_first_home_alone(deployments: Sequence[Deployment]) -> None:
    """A second bucket would be empty, and links of its home would lead there."""
    for deployment in deployments:
        first, *others = deployment.homes
        assert ("Bucket" in first["Resources"]) == deployment.options.makes_bucket
        assert ("SigningKey" in first["Resources"]) == (deployment.options.signing == "kms")
        for other in others:
            assert not other["Resources"].keys() & {"Bucket", "BucketPolicy", "SigningKey"}


def test_the_signing_key_is_p256_and_signs_only(deployments: Sequence[Deployment]) -> None:
    """Links with an RSA key are 250 characters longer; a key for encryption cannot sign."""
    for deployment in deployments:
        for key in deployment.of("KMS::Key"):
            assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")


def test_the_bucket_is_nobodys_but_its_owners(deployments: Sequence[Deployment]) -> None:
    """A public bucket is read without any link."""
    for deployment in deployments:
        for bucket in deployment.of("S3::Bucket"):
            assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
            assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
            (rule,) = bucket["LifecycleConfiguration"]["Rules"]
            assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
            assert ("VersioningConfiguration" in bucket) == deployment.options.is_versioned


def test_the_bucket_lets_in_one_distribution(deployments: Sequence[Deployment]) -> None:
    """Every account has distributions: without its ARN, anybody's could read the bucket."""
    for deployment in deployments:
        for each in statements_of(deployment):
            if each["Effect"] == "Allow":
                assert each["Principal"] == FRONT
                assert each["Condition"] == {"StringEquals": {"AWS:SourceArn": DISTRIBUTION}}


def test_the_bucket_allows_reading_objects_and_creating_uploads(deployments: Sequence[Deployment]) -> None:
    """With all methods let through, the policy is the last that tells a DELETE, or a PUT over a download's object."""
    for deployment in deployments:
        folder = f"arn:aws:s3:::acme-objects{deployment.options.folder}"
        allowed = {
            each["Action"][0]: each["Resource"] for each in statements_of(deployment) if each["Effect"] == "Allow"
        }
        if not deployment.options.makes_bucket:
            assert allowed == {}
            continue
        assert allowed.pop("s3:GetObject") == f"{folder}/*"
        uploads = [f"{folder}/{prefix}*" for prefix in deployment.options.uploads]
        assert allowed == ({"s3:PutObject": uploads} if uploads else {})


def test_an_upload_without_its_condition_is_denied(deployments: Sequence[Deployment]) -> None:
    """Whatever else goes wrong, an upload link never replaces an object."""
    for deployment in deployments:
        denied = [each for each in statements_of(deployment) if each["Sid"] == "AndNeverReplaces"]
        assert len(denied) == bool(deployment.options.makes_bucket and deployment.options.uploads)
        for each in denied:
            assert (each["Effect"], each["Action"]) == ("Deny", ["s3:PutObject"])
            assert each["Condition"] == {"Null": {"s3:if-none-match": "true"}}


def test_before_the_distribution_stands_the_bucket_lets_in_nobody() -> None:
    """A bucket policy for a distribution to come would be one for any."""
    options = deployment_of().options
    policy = home_template(options, options.first)["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]
    assert [each["Sid"] for each in policy["Statement"]] == ["TlsOnly"]


# All


def test_the_same_options_give_the_same_bytes(deployments: Sequence[Deployment]) -> None:
    """Else every run has a change set, and nobody sees the change that was meant."""
    options = deployments[-1].options
    assert text_of(edge_template(options, CODE)) == text_of(deployments[-1].edge)
    in_other_process = subprocess.run(
        [sys.executable, "-c", "import tools.gen_aws_examples as g; print(g.examples()['example-edge.json'], end='')"],
        cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert in_other_process.stdout == (ROOT / "docs" / "aws" / "example-edge.json").read_text()


def test_options_that_are_taken_back_leave_nothing() -> None:
    """What an option has added goes with it: a template holds no state."""
    plain = deployment_of()
    for more in (DOMAIN, {"cors_origins": ("*",)}, {"alarm_topic": TOPIC}, {"uploads": ()}, {"folder": "/a"}):
        assert deployment_of(**more).edge != plain.edge
    assert deployment_of().edge == plain.edge


def test_homes_are_small_enough_to_be_sent_as_they_are(deployments: Sequence[Deployment]) -> None:
    """A longer template goes by URL from the bucket that this very stack makes."""
    for deployment in deployments:
        for home in deployment.homes:
            assert len(text_of(home).encode()) < TEMPLATE_BODY_MAX_BYTES


@pytest.mark.slow
def test_cfn_lint_finds_nothing(deployments: Sequence[Deployment], tmp_path: pathlib.Path) -> None:
    """It knows AWS's own schemas: a misspelt property would show only when a stack fails halfway."""
    plain, *_ = deployments
    everything = deployment_of(
        homes=(Home("eu-central-1"), Home("us-east-1", "b")), is_versioned=True, folder="/public", zone="Z1",
        uploads=("inbox/", "from/people/"), alarm_topic=TOPIC, cors_origins=("https://app.example.com",), **DOMAIN,
    )  # fmt: skip
    least = deployment_of(makes_bucket=False, signing="own", makes_distribution=False, uploads=())
    for number, deployment in enumerate((plain, everything, least)):
        for name, stack in (
            ("edge", deployment.edge),
            *((f"home{n}", home) for n, home in enumerate(deployment.homes)),
        ):
            (tmp_path / f"{number}-{name}.json").write_text(text_of(stack))
    assert lint(sorted(tmp_path.glob("*.json"))) == []


def test_the_examples_are_as_the_code_writes_them() -> None:
    """A template in the documentation is copied; one that is old is deployed."""
    done = subprocess.run(
        [sys.executable, "tools/gen_aws_examples.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": "Acme"}, "NAME"),
        ({"bucket": "acme.objects"}, "--bucket"),
        ({"homes": (Home("eu-central-1"), Home("eu-central-1", "b"))}, "--home"),
        ({"homes": ()}, "--home"),
        ({"uploads": ("inbox",)}, "--uploads"),
        ({"uploads": ("../",)}, "--uploads"),
        ({"folder": "/a/"}, "--folder"),
        ({"domain": "links.example.com"}, "--domain"),
        ({**DOMAIN, "certificate": "arn:aws:acm:eu-west-1:1:certificate/a"}, "--certificate"),
        ({"zone": "Z1"}, "--zone"),
        ({"plain_links": "once"}, "--plain-links"),
        ({"confirm": "perhaps"}, "--confirm"),
        ({"cors_origins": ("app.example.com",)}, "--cors-origin"),
        ({"makes_distribution": False, "alarm_topic": TOPIC}, "--own-distribution"),
        ({"public_keys": tuple(f"{number}" for number in range(6))}, "--public-key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_deployed_is_refused_by_the_options_name(wrong: dict[str, Any], where: str) -> None:
    """A stack that fails halfway costs minutes, and leaves a bucket whose name is taken."""
    given: dict[str, Any] = {"name": "acme", "homes": (Home("eu-central-1"),), "bucket": "acme-objects"}
    with pytest.raises(DeploymentUnfit) as refused:
        Options(**{**given, **wrong})
    assert refused.value.where == where


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "us-iso-east-1"])
def test_other_partitions_are_refused_by_name(region: str) -> None:
    """There is no edge function there; the error of CloudFormation would name a resource type."""
    with pytest.raises(DeploymentUnfit, match="partition"):
        Home(region)


def test_an_edge_without_a_key_is_refused() -> None:
    """CloudFront makes no empty key group, and a distribution without one serves everyone."""
    with pytest.raises(DeploymentUnfit, match="at least one key"):
        deployment_of(public_keys=())
