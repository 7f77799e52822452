"""The stack of the API: what must hold of its template, whatever the options are."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.aws.conftest import deployment_of, lint, public_pems

from oncegate.aws.stacks import api_variables
from oncegate.aws.stacks.api import LOG_DAYS, SIGNING_KEY, api_template, signing_spec
from oncegate.aws.stacks.api_routes import BURST, RATE_PER_S, ROUTES
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options import Api, DeploymentUnfit, Home, Options
from oncegate.aws.stacks.options_text import api_of, options_metadata, options_of
from oncegate.aws.stacks.rotation import Rotation
from oncegate.aws.stacks.template import TEMPLATE_BODY_MAX_BYTES, text_of
from oncegate.control.app import openapi_document
from oncegate.service import api_function

ACCOUNT = "111122223333"
SECRET = f"secretsmanager:arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:links-AbCdEf"
PARAMETER = f"ssm:arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/links/key"
KEY = f"kms:arn:aws:kms:eu-central-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
JWT = Api(authorizer="jwt", issuer="https://id.example.com/", audience=("links",))
APP = "https://app.example.com"

CHOICES: Sequence[Sequence[Mapping[str, Any]]] = (
    ({}, {"homes": (Home("eu-central-1"), Home("us-east-1", "b"))}),
    ({}, {"makes_bucket": False}, {"folder": "/public"}),
    ({}, *({"signing": "own", "signing_key": key, "public_keys": public_pems()} for key in (SECRET, PARAMETER, KEY))),
    (
        {"api": Api()},
        {"api": Api(cors_origins=(APP, "https://b.example.com"))},
        {"api": JWT},
        {"api": Api(authorizer="jwt", issuer=JWT.issuer, audience=("a", "b"), cors_origins=("*",))},
    ),
)
Stack = tuple[Options, Mapping[str, Any]]


@pytest.fixture(scope="module")
def stacks() -> Sequence[Stack]:
    """The template of each combination of options that it follows from."""
    found: list[Stack] = []
    for combination in itertools.product(*CHOICES):
        options = deployment_of(**{name: value for each in combination for name, value in each.items()}).options
        found.append((options, api_template(options)))
    return found


def of(stack: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The properties of every resource of a kind."""
    return [each["Properties"] for each in stack["Resources"].values() if each["Type"] == f"AWS::{kind}"]


def statements_of(stack: Mapping[str, Any]) -> dict[str, Any]:
    """What the role may, by the names of its policies."""
    (role,) = of(stack, "IAM::Role")
    found: dict[str, Any] = {}
    for each in role["Policies"]:
        (found[each["PolicyName"]],) = each["PolicyDocument"]["Statement"]
    return found


def test_every_route_has_the_authorizer(stacks: Sequence[Stack]) -> None:
    """F0.15, F1.17, F3.6: the published APIs signed and listed for anybody."""
    for options, stack in stacks:
        routes = of(stack, "ApiGatewayV2::Route")
        assert len(routes) == len(ROUTES)
        for route in routes:
            if options.api and options.api.authorizer == "jwt":
                assert route["AuthorizationType"] == "JWT"
                assert route["AuthorizerId"] == {"Ref": "Authorizer"}
            else:
                assert route["AuthorizationType"] == "AWS_IAM"


def test_no_route_takes_what_the_api_does_not_have(stacks: Sequence[Stack]) -> None:
    """A catch-all would bring to the function what no right of a route was given for."""
    for _, stack in stacks:
        keys = {route["RouteKey"] for route in of(stack, "ApiGatewayV2::Route")}
        assert keys == set(ROUTES)
        assert not any(key.startswith(("ANY ", "$default")) or "+}" in key for key in keys)


def test_the_routes_are_the_calls_of_the_openapi_document() -> None:
    """A call that is added to the API would be 404 in a deployment."""
    calls = {f"{method.upper()} {path}" for path, each in openapi_document()["paths"].items() for method in each}
    of_a_process = {"GET /metrics", "GET /healthz"}
    refused = {"HEAD /url"}
    assert set(ROUTES) == (calls - of_a_process) | {"GET /openapi.json"} | refused


def test_the_authorizer_asks_for_issuer_and_audience(stacks: Sequence[Stack]) -> None:
    """A token of the same issuer for somebody else must open nothing."""
    for options, stack in stacks:
        authorizers = of(stack, "ApiGatewayV2::Authorizer")
        assert len(authorizers) == (options.api is not None and options.api.authorizer == "jwt")
        for authorizer in authorizers:
            assert authorizer["AuthorizerType"] == "JWT"
            assert authorizer["JwtConfiguration"] == {
                "Issuer": options.api and options.api.issuer,
                "Audience": list(options.api.audience if options.api else ()),
            }


def test_the_function_is_told_which_authorizer_there_is(stacks: Sequence[Stack]) -> None:
    """It must not find out by what a request carries."""
    for options, stack in stacks:
        (function,) = of(stack, "Lambda::Function")
        variables = function["Environment"]["Variables"]
        assert variables[api_variables.AUTHORIZER] == (options.api and options.api.authorizer)
        assert variables[api_variables.SECRET] == {"Ref": "Secret"}


def test_the_role_has_exactly_these_rights(stacks: Sequence[Stack]) -> None:
    """F3.9: a published role read every parameter. List one bucket, sign with one key, the table's calls, its log."""
    for options, stack in stacks:
        may = statements_of(stack)
        assert may.keys() == {"ledger", "objects", "signing", "logs"}
        assert {each["Effect"] for each in may.values()} == {"Allow"}
        assert may["objects"]["Action"] == ["s3:ListBucket"]
        assert may["objects"]["Resource"] == "arn:aws:s3:::acme-objects"
        assert "*" not in json.dumps([each["Resource"] for each in may.values()])
        assert may["signing"]["Resource"] == {"Ref": SIGNING_KEY}
        kind = "kms" if options.signing == "kms" else options.signing_key.partition(":")[0]
        assert (
            may["signing"]["Action"]
            == {
                "kms": ["kms:GetPublicKey", "kms:Sign"],
                "secretsmanager": ["secretsmanager:GetSecretValue"],
                "ssm": ["ssm:GetParameter"],
            }[kind]
        )
        assert {action.partition(":")[0] for each in may.values() for action in each["Action"]} == {
            "dynamodb", "s3", "logs", kind
        }  # fmt: skip


def test_the_role_deletes_nothing_and_knows_the_exact_tables(stacks: Sequence[Stack]) -> None:
    """A record that is deleted opens its link again."""
    for options, stack in stacks:
        ledger = statements_of(stack)["ledger"]
        assert set(ledger["Action"]) == {
            f"dynamodb:{each}" for each in ("DescribeTable", "DescribeTimeToLive", "GetItem", "PutItem", "Query")
        }
        regions = [home.region for home in options.homes]
        assert [each["Fn::Sub"] for each in ledger["Resource"]] == [
            f"arn:${{AWS::Partition}}:dynamodb:{region}:${{AWS::AccountId}}:table/acme" for region in regions
        ]


def test_a_folder_is_all_that_is_listed(stacks: Sequence[Stack]) -> None:
    """Of a bucket that holds other things as well."""
    for options, stack in stacks:
        condition = statements_of(stack)["objects"].get("Condition")
        assert condition == ({"StringLike": {"s3:prefix": ["public/*"]}} if options.folder else None)


def test_who_calls_too_often_is_told_so(stacks: Sequence[Stack]) -> None:
    """Each link may cost a signature of KMS."""
    for _, stack in stacks:
        (stage,) = of(stack, "ApiGatewayV2::Stage")
        assert stage["DefaultRouteSettings"] == {"ThrottlingBurstLimit": BURST, "ThrottlingRateLimit": RATE_PER_S}
        assert stage["StageName"] == "$default"
        assert stage["AutoDeploy"] is True


def test_the_access_log_holds_no_query_and_no_path(stacks: Sequence[Stack]) -> None:
    """F2.11, F3.9: keys of objects, links to be explained and tokens stand there; one published design logged events."""
    for _, stack in stacks:
        (stage,) = of(stack, "ApiGatewayV2::Stage")
        format_ = json.loads(stage["AccessLogSettings"]["Format"])
        assert format_["route"] == "$context.routeKey"
        for variable in format_.values():
            assert not variable.startswith("$context.path")
            assert "query" not in variable.lower()
            assert "authorizer" not in variable


def test_logs_end(stacks: Sequence[Stack]) -> None:
    """A group that Lambda makes keeps its lines for ever, so the function waits for ours."""
    for _, stack in stacks:
        groups = of(stack, "Logs::LogGroup")
        assert {each["RetentionInDays"] for each in groups} == {LOG_DAYS}
        assert {each["LogGroupName"] for each in groups} == {"/aws/lambda/acme-api", "/aws/vendedlogs/acme-api"}
        assert stack["Resources"]["Function"]["DependsOn"] == ["Logs"]


def test_pages_of_named_origins_alone_may_call(stacks: Sequence[Stack]) -> None:
    """F3.4, F3.6: any origin with credentials is invalid, and the published functions sent no headers at all."""
    for options, stack in stacks:
        (api,) = of(stack, "ApiGatewayV2::Api")
        origins = list(options.api.cors_origins) if options.api else []
        assert ("CorsConfiguration" in api) == bool(origins)
        if origins:
            cors = api["CorsConfiguration"]
            assert cors["AllowOrigins"] == origins
            assert cors["AllowCredentials"] is False
            assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(cors["AllowHeaders"])


def test_the_secret_is_shown_to_nobody(stacks: Sequence[Stack]) -> None:
    """Whoever reads templates, plans or events of the stack must not see it."""
    for _, stack in stacks:
        assert stack["Parameters"]["Secret"]["NoEcho"] is True


def test_only_this_api_may_invoke_the_function(stacks: Sequence[Stack]) -> None:
    """Without a source, every API of every account could be put in front of it."""
    for _, stack in stacks:
        (permission,) = of(stack, "Lambda::Permission")
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert permission["SourceArn"]["Fn::Sub"].endswith(":${Api}/*")


def test_the_handler_is_there() -> None:
    """Its name is text in a template."""
    module, _, name = api_variables.HANDLER.rpartition(".")
    assert module == api_function.__name__
    assert callable(getattr(api_function, name))


def test_a_template_is_short_and_the_same_every_time(stacks: Sequence[Stack]) -> None:
    """It is sent as it is; one that differs from run to run would be a change every night."""
    for options, stack in stacks:
        text = text_of(stack)
        assert len(text.encode()) < TEMPLATE_BODY_MAX_BYTES
        assert text == text_of(api_template(options))


def test_the_code_lies_apart_from_the_objects(stacks: Sequence[Stack]) -> None:
    """What lies among the objects is listed by the API, and a link can be made to it."""
    for options, _ in stacks:
        home = home_template(options, options.first)
        bucket = home["Resources"]["CodeBucket"]["Properties"]  # type: ignore[index,call-overload]
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}  # type: ignore[index,union-attr]
        (statement,) = home["Resources"]["CodeBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]  # type: ignore[index,call-overload]
        assert statement["Effect"] == "Deny"
        assert all("CodeBucket" not in home_template(options, each)["Resources"] for each in options.homes[1:])
    without = deployment_of().options
    assert "CodeBucket" not in home_template(without, without.first)["Resources"]


def test_what_signs_follows_the_rotation() -> None:
    """The role has one key: the one that signs now, not all that are trusted."""
    options = deployment_of(api=Api(), rotation=Rotation().started().switched(now_s=5)).options
    outputs = {"SigningKeyArn": "arn:1", "SigningKeyArn2": "arn:2"}
    assert signing_spec(options, outputs) == "kms:arn:2"
    own = deployment_of(api=Api(), signing="own", signing_key=SECRET).options
    assert signing_spec(own, {}) == SECRET


def test_the_options_stand_in_the_stack(stacks: Sequence[Stack]) -> None:
    """Another machine rotates the key, and must not take the API away by it.

    Metadata alone is no change to CloudFormation, so what changes nothing at the edge does not stand there.
    """
    for options, stack in stacks:
        assert api_of(json.loads(text_of(stack))) == options.api
        read = options_of(json.loads(json.dumps({"Metadata": options_metadata(options)})))
        assert read == dataclasses.replace(options, api=None)
    assert api_of({}) is None


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"api": Api(), "signing": "own"}, "--signing-key|--api"),
        ({"signing_key": SECRET}, "--signing-key"),
        ({"signing": "own", "signing_key": "ssm:/links/key"}, "--signing-key"),
        ({"signing": "own", "signing_key": SECRET.replace("aws:secrets", "aws:kms:secrets")}, "--signing-key"),
    ],
)
def test_a_key_that_the_function_could_not_use_is_refused(wrong: dict[str, Any], where: str) -> None:
    """Before anything is made; a name without its ARN would need a right to every parameter."""
    with pytest.raises(DeploymentUnfit, match=where):
        deployment_of(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"authorizer": "none"},
        {"authorizer": "jwt"},
        {"authorizer": "jwt", "issuer": "https://id.example.com"},
        {"authorizer": "jwt", "issuer": "http://id.example.com", "audience": ("a",)},
        {"authorizer": "jwt", "issuer": "https://id.example.com/?x=1", "audience": ("a",)},
        {"authorizer": "jwt", "issuer": "https://id.example.com", "audience": ("a b",)},
        {"authorizer": "iam", "audience": ("a",)},
        {"cors_origins": ("app.example.com",)},
        {"cors_origins": ("https://app.example.com/page",)},
    ],
)
def test_an_api_that_nobody_guards_is_refused(wrong: dict[str, Any]) -> None:
    """A JWT of any issuer, or for anybody, and origins that no browser sends."""
    with pytest.raises(DeploymentUnfit):
        Api(**wrong)


@pytest.mark.slow
def test_cfn_lint_finds_nothing(stacks: Sequence[Stack], tmp_path: pathlib.Path) -> None:
    """It knows AWS's own schemas; the plainest, and those with each option."""
    chosen = [stacks[0], stacks[2], stacks[7], stacks[-1]]
    paths: list[pathlib.Path] = []
    for number, (options, stack) in enumerate(chosen):
        for name, document in (("api", stack), ("home", home_template(options, options.first))):
            paths.append(tmp_path / f"{number}-{name}.json")
            paths[-1].write_text(text_of(document))
    assert lint(paths) == []
