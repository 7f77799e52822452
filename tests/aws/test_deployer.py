"""Deployments on an emulator of CloudFormation: planned, made, changed, interrupted, taken away."""

from __future__ import annotations

import dataclasses
import io
import json
import secrets
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.aws.conftest import CODE, public_pems

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.deploying.deployer import Deployed, Deployer
from oncegate.aws.deploying.removal import Removal, homes_of
from oncegate.aws.deploying.stacks import TAG, Stacks
from oncegate.aws.deploying.standing import standing_options
from oncegate.aws.deploying.written import MARK, write_configuration
from oncegate.aws.stacks.api_variables import PUBLIC_KEYS
from oncegate.aws.stacks.options import EDGE_REGION, Api, DeploymentUnfit, Home, Options
from oncegate.testing.servers.aws import AwsEmulator

REGION = "eu-central-1"


def client(service: str, region: str = REGION) -> Any:
    """Another program's way to AWS."""
    return boto3.client(service, region_name=region)


def options_of(**more: Any) -> Options:
    """A deployment of its own."""
    name = f"t{secrets.token_hex(4)}"
    given = {"name": name, "homes": (Home(REGION),), "bucket": f"{name}-objects", "uploads": ("inbox/",)}
    return Options(**{**given, **more})


class Zip:
    """Code of the API's function that nobody runs here."""

    def __init__(self, version: str) -> None:
        self.key = f"oncegate-{version}.zip"

    def content(self) -> bytes:
        """A zip file with one file."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("version", self.key)
        return packed.getvalue()


class Told:
    """A deployer, and what it said and noted."""

    def __init__(
        self, options: Options, code: str = CODE, cloud: Cloud | None = None, bundle: str = "1", **more: Any
    ) -> None:
        self.said: list[str] = []
        self.born: list[tuple[str, str]] = []
        self.deployer = Deployer(
            cloud or Cloud(),
            options,
            code=code,
            note_birth=lambda *at: self.born.append(at),
            say=self.said.append,
            bundle=Zip(bundle) if bundle else None,
            **more,
        )

    def deploy(self) -> Deployed:
        """Plan and apply."""
        return self.deployer.apply(self.deployer.plan())


@pytest.fixture(scope="module")
def standing(aws: AwsEmulator) -> tuple[Options, Deployed, Told]:
    """A deployment that stands."""
    options = options_of()
    told = Told(options)
    return options, told.deploy(), told


def test_a_plan_makes_nothing(aws: AwsEmulator) -> None:
    """Somebody who only looks must find the account as it was."""
    options = options_of()
    plans = Told(options).deployer.plan()
    assert plans.homes[0].is_new
    assert plans.edge.is_new
    assert {change.sign for change in (*plans.homes[0].changes, *plans.edge.changes)} == {"+"}
    with pytest.raises(Exception, match="does not exist"):
        client("cloudformation").describe_stacks(StackName=options.home_stack(options.first))


def test_what_was_planned_stands(standing: tuple[Options, Deployed, Told]) -> None:
    """Table, bucket and key at home; distribution, function and keys at the edge; the birth noted."""
    options, deployed, told = standing
    table = client("dynamodb").describe_table(TableName=options.name)["Table"]
    assert table["DeletionProtectionEnabled"] is True
    client("s3").head_bucket(Bucket=options.bucket)
    assert deployed.signing.startswith(f"kms:arn:aws:kms:{REGION}:")
    found = client("cloudfront", EDGE_REGION).get_distribution(Id=deployed.edge["DistributionId"])["Distribution"]
    assert found["DomainName"] == deployed.domain
    (key_id,) = deployed.keys
    shown = client("cloudfront", EDGE_REGION).get_public_key(Id=key_id)["PublicKey"]["PublicKeyConfig"]
    assert shown["EncodedKey"].strip() == deployed.keys[key_id].strip()
    assert told.born == [(options.name, REGION)]


def test_the_bucket_lets_in_the_distribution_that_was_made(standing: tuple[Options, Deployed, Told]) -> None:
    """Its ARN is known only when the edge stands, so the home is applied once more."""
    options, deployed, _ = standing
    policy = client("s3").get_bucket_policy(Bucket=options.bucket)["Policy"]
    assert policy.count(deployed.edge["DistributionArn"]) == 2


def test_a_long_template_goes_by_url_and_is_removed_again(aws: AwsEmulator) -> None:
    """With the edge function in it, it is over what can be sent; left in the bucket, a link could lead to it."""
    options = options_of()
    code = CODE + "#" * 60_000
    Told(options, code).deploy()
    assert "Contents" not in client("s3").list_objects_v2(Bucket=options.bucket)
    function = client("lambda", EDGE_REGION).get_function(FunctionName=f"{options.name}-edge")
    assert function["Configuration"]["Runtime"] == "python3.13"
    assert Told(options, code).deployer.plan().is_empty
    assert "Contents" not in client("s3").list_objects_v2(Bucket=options.bucket)


def test_a_second_run_changes_nothing(standing: tuple[Options, Deployed, Told]) -> None:
    """Who runs it every night must not publish a function every night, nor draw another secret."""
    options, deployed, _ = standing
    told = Told(options)
    plans = told.deployer.plan()
    assert plans.is_empty
    again = told.deployer.apply(plans)
    assert again == deployed
    assert told.said == []


def test_options_are_added_and_taken_back(standing: tuple[Options, Deployed, Told]) -> None:
    """Another configuration is another version of the function; the former one is kept for its replicas."""
    options, deployed, _ = standing
    changed = Told(dataclasses.replace(options, confirm="never"))
    plans = changed.deployer.plan()
    assert not plans.homes[0].changes
    assert {change.name for change in plans.edge.changes} >= {"Function", "Distribution"}
    other = changed.deployer.apply(plans)
    assert other.edge["FunctionVersion"] != deployed.edge["FunctionVersion"]
    Told(options).deploy()
    assert Told(options).deployer.plan().is_empty


def test_a_configuration_is_written_once(standing: tuple[Options, Deployed, Told], tmp_path: Path) -> None:
    """It is found as it was written; whoever took the first line out keeps their own."""
    options, deployed, _ = standing
    written = write_configuration(tmp_path, options, deployed)
    assert [path.name for path in written] == [*(f"{key_id}.pem" for key_id in deployed.keys), "oncegate.toml"]
    assert write_configuration(tmp_path, options, deployed) == []
    config = tmp_path / "oncegate.toml"
    own = config.read_text().removeprefix(MARK)
    config.write_text(own)
    assert write_configuration(tmp_path, options, deployed) == []
    assert config.read_text() == own


class Stopped(Exception):
    """The program was ended here."""


class Stopping(Cloud):
    """A cloud whose user is stopped after a number of calls that change something."""

    CHANGES = ("create_change_set", "execute_change_set", "put_object", "delete_object", "delete_stack")

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after
        self.made: list[str] = []

    def call(self, service: str, operation: str, region: str, **arguments: Any) -> Any:
        """Make the call, and stop after it where it is the last one."""
        answer = super().call(service, operation, region, **arguments)
        if operation in self.CHANGES:
            self.made.append(operation)
            self.left -= 1
            if not self.left:
                raise Stopped
        return answer


def test_it_goes_on_after_each_call_that_changes_something(aws: AwsEmulator) -> None:
    """A laptop that is closed must leave nothing that only a console mends."""
    stop_after = 1
    while True:
        options = options_of(api=Api())
        stopping = Stopping(stop_after)
        try:
            Told(options, CODE + "#" * 60_000, stopping).deploy()
        except Stopped:
            deployed = Told(options, CODE + "#" * 60_000).deploy()
            assert (
                client("s3").get_bucket_policy(Bucket=options.bucket)["Policy"].count(deployed.edge["DistributionArn"])
                == 2
            ), stopping.made
            assert Told(options, CODE + "#" * 60_000).deployer.plan().is_empty, stopping.made
            assert "Contents" not in client("s3").list_objects_v2(Bucket=options.bucket), stopping.made
            assert bundles_of(deployed, options) == ["oncegate-1.zip"], stopping.made
        else:
            break
        stop_after += 1
    assert stop_after > 8, "the list of calls got shorter than the deployment has steps"


def bundles_of(deployed: Deployed, options: Options) -> list[str]:
    """What lies in the bucket of the API's code."""
    found = client("s3").list_objects_v2(Bucket=deployed.homes[options.first.name]["CodeBucket"])
    return [each["Key"] for each in found.get("Contents", ())]


def test_another_bundle_takes_the_place_of_the_first(aws: AwsEmulator) -> None:
    """Which stays until the stack stands: CloudFormation would need it to take a step back."""
    options = options_of(api=Api())
    Told(options).deploy()
    told = Told(options, bundle="2")
    plans = told.deployer.plan()
    assert [change.name for change in plans.api.changes if change.name == "Function"] == ["Function"]  # type: ignore[union-attr]
    assert not plans.edge.changes
    deployed = told.deployer.apply(plans)
    assert bundles_of(deployed, options) == ["oncegate-2.zip"]
    assert Told(options, bundle="2").deployer.plan().is_empty


def test_without_a_bundle_the_code_that_stands_is_kept(aws: AwsEmulator) -> None:
    """A rotation on a machine with another version, or none of the wheels, must not exchange the function."""
    options = options_of(api=Api())
    with pytest.raises(DeploymentUnfit, match="no code"):
        Told(options, bundle="").deployer.plan()
    Told(options).deploy()
    assert Told(options, bundle="").deployer.plan().is_empty
    standing = standing_options(Cloud(), options.edge_stack)
    assert standing == options, "the API's options are read from its stack"
    rotating = dataclasses.replace(options, rotation=options.rotation.started())
    deployed = Told(rotating, bundle="", is_rotating=True).deploy()
    assert bundles_of(deployed, options) == ["oncegate-1.zip"]
    variables = client("lambda").get_function_configuration(FunctionName=f"{options.name}-api")["Environment"]
    assert json.loads(variables["Variables"][PUBLIC_KEYS]).keys() == deployed.keys.keys()


def test_the_api_is_added_and_taken_away(aws: AwsEmulator) -> None:
    """With the bucket of its code, which must be empty by then; table, objects and distribution stay as they were."""
    plain = options_of()
    before = Told(plain).deploy()
    options = dataclasses.replace(plain, api=Api(cors_origins=("https://app.example.com",)))
    with_api = Told(options).deploy()
    assert with_api.api["ApiEndpoint"].startswith("http")
    assert before.edge == with_api.edge
    told = Told(plain)
    plans = told.deployer.plan()
    assert plans.removes_api
    assert told.deployer.apply(plans) == before
    assert Told(plain).deployer.plan().is_empty
    with pytest.raises(Exception, match="does not exist"):
        client("cloudformation").describe_stacks(StackName=options.api_stack)


def test_a_deployment_with_an_api_is_taken_away(aws: AwsEmulator) -> None:
    """The bundle does not keep its bucket, nor the bucket the home's stack."""
    options = options_of(api=Api())
    Told(options).deploy()
    Removal(Cloud(), options.name, say=lambda words: None).run(options.homes, ())
    stacks = Stacks(Cloud(), options.name, stage=str)
    for stack in (options.api_stack, options.home_stack(options.first)):
        assert stacks.find(stack, REGION) is None


def test_a_stack_whose_making_failed_is_made_anew(aws: AwsEmulator) -> None:
    """What a failed try retained would have taken the names that the next one needs: the function has one."""
    wrong = options_of(signing="own", public_keys=("no key",))
    with pytest.raises(DeploymentUnfit, match="no public key"):
        Told(wrong).deploy()
    right = dataclasses.replace(wrong, public_keys=public_pems()[:1])
    deployed = Told(right).deploy()
    assert tuple(deployed.keys.values()) == right.public_keys
    assert Told(right).deployer.plan().is_empty


def test_a_stack_that_is_not_ours_is_left_alone(aws: AwsEmulator) -> None:
    """Two teams may think of one name."""
    options = options_of()
    client("cloudformation").create_stack(
        StackName=options.home_stack(options.first),
        TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}',
    )
    with pytest.raises(DeploymentUnfit, match="not ours"):
        Told(options).deployer.plan()


def test_a_stack_of_a_newer_version_is_left_alone(aws: AwsEmulator) -> None:
    """An older program would take out what it does not know."""
    options = options_of()
    client("cloudformation").create_stack(
        StackName=options.home_stack(options.first),
        TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}',
        Tags=[{"Key": TAG, "Value": options.name}, {"Key": "oncegate-format", "Value": "99"}],
    )
    with pytest.raises(DeploymentUnfit, match="newer version"):
        Told(options).deployer.plan()


@pytest.mark.parametrize("what", ["table", "bucket"])
def test_a_name_that_is_taken_is_refused_before_anything_is_made(aws: AwsEmulator, what: str) -> None:
    """A stack that fails halfway retains what it made, and its names are then taken too."""
    options = options_of()
    if what == "table":
        client("dynamodb").create_table(
            TableName=options.name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )  # fmt: skip
    else:
        client("s3").create_bucket(Bucket=options.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.raises(DeploymentUnfit, match="stands"):
        Told(options).deployer.plan()


def test_a_bucket_of_ones_own_is_used_and_its_policy_left(aws: AwsEmulator) -> None:
    """A policy that was merged by force may open what its owner had closed."""
    options = options_of(makes_bucket=False)
    with pytest.raises(DeploymentUnfit, match="there is no bucket"):
        Told(options).deployer.plan()
    client("s3").create_bucket(Bucket=options.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    Told(options).deploy()
    with pytest.raises(Exception, match="NoSuchBucketPolicy"):
        client("s3").get_bucket_policy(Bucket=options.bucket)


def test_two_homes_have_a_table_each(aws: AwsEmulator) -> None:
    """A link's home alone decides, so each Region has its own."""
    options = options_of(homes=(Home(REGION), Home("us-west-2", "w")))
    deployed = Told(options).deploy()
    for region in (REGION, "us-west-2"):
        client("dynamodb", region).describe_table(TableName=options.name)
    assert homes_of(Stacks(Cloud(), options.name, stage=str).find(options.edge_stack, EDGE_REGION)) == [*options.homes]
    assert deployed.homes.keys() == {"", "w"}


def test_what_is_taken_away_leaves_the_data(aws: AwsEmulator) -> None:
    """Table, bucket and key hold what cannot be made again; each goes when it is named, and a second run says nothing."""
    options = options_of()
    Told(options).deploy()
    said: list[str] = []
    removal = Removal(Cloud(), options.name, say=said.append)
    removal.run(options.homes, ())
    stacks = Stacks(Cloud(), options.name, stage=str)
    assert stacks.find(options.edge_stack, EDGE_REGION) is None
    assert stacks.find(options.home_stack(options.first), REGION) is None
    client("dynamodb").describe_table(TableName=options.name)
    client("s3").head_bucket(Bucket=options.bucket)
    removal.run(options.homes, ("table",))
    with pytest.raises(Exception, match="ResourceNotFound"):
        client("dynamodb").describe_table(TableName=options.name)
    said.clear()
    removal.run(options.homes, ("table",))
    assert said == []


def test_no_credentials_are_said_with_what_to_do(aws: AwsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2 in one line, and not a driver's traceback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(DeploymentUnfit, match="no AWS credentials"):
        Told(options_of()).deployer.plan()
