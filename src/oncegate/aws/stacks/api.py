"""The stack ``api``, beside the first home: the control API's function and its rights, behind ``api_routes``.

What is known only when the other stacks stand comes as a parameter, so the template follows from the options alone.

Source: Service Authorization Reference for the actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncegate.aws.stacks import api_variables
from oncegate.aws.stacks.api_routes import http_api
from oncegate.aws.stacks.options import Api, DeploymentUnfit, Options
from oncegate.aws.stacks.options_text import api_metadata
from oncegate.aws.stacks.rotation import key_output
from oncegate.aws.stacks.template import Json, Resource, attribute, policy, ref, resource, statement, sub, template

RUNTIME = "python3.13"
ARCHITECTURE = "x86_64"
MEMORY_MB = 1_024
"""Lambda gives CPU by memory; FastAPI takes most of a second of it at the start."""
TIMEOUT_S = 29
"""An HTTP API waits for 30."""
LOG_DAYS = 90
TABLE_ACTIONS = (
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
)
"""Records are looked for, listed and written; nothing deletes one, because it would open its link again."""

CONFIGURATION = "Configuration"
PUBLIC_KEYS = "PublicKeys"
SIGNING_KEY = "SigningKey"
CODE_BUCKET = "CodeBucket"
CODE_KEY = "CodeKey"
SECRET = "Secret"  # noqa: S105  a name
DRAWN = (SECRET,)
"""Parameters that are drawn once and kept; the others are given at each run."""

_KEY_ACTIONS: Mapping[str, Sequence[str]] = {
    "kms": ("kms:GetPublicKey", "kms:Sign"),
    "secretsmanager": ("secretsmanager:GetSecretValue",),
    "ssm": ("ssm:GetParameter",),
}


def api_template(options: Options) -> dict[str, Json]:
    """Write the template.

    Args:
        options: of the deployment.

    Raises:
        DeploymentUnfit: it has no API.
    """
    api = options.api
    if api is None:
        raise DeploymentUnfit("this deployment has no API", where="--api")
    resources: dict[str, Resource] = {
        "Logs": _log_group(f"/aws/lambda/{options.name}-api"),
        "AccessLogs": _log_group(f"/aws/vendedlogs/{options.name}-api"),
        "Role": _role(options),
        "Function": _function(options, api),
        **http_api(options, api),
    }
    outputs: Mapping[str, Json] = {
        "ApiEndpoint": attribute("Api", "ApiEndpoint"),
        "ApiId": ref("Api"),
        "FunctionName": ref("Function"),
        "FunctionArn": attribute("Function", "Arn"),
        "Authorizer": api.authorizer,
    }
    words = f"oncegate {options.name}: the control API and its function"
    return template(words, resources, outputs, _parameters(), api_metadata(api))


def signing_spec(options: Options, outputs: Mapping[str, str]) -> str:
    """What signs, as ``[keys] signing`` has it; empty where nothing of the deployment does.

    Args:
        options: of the deployment.
        outputs: of the first home's stack.
    """
    if options.signing == "kms":
        return f"kms:{outputs[key_output(options.rotation.signing)]}"
    return options.signing_key


def _parameters() -> Mapping[str, Json]:
    described = {
        CONFIGURATION: "oncegate.toml of the function.",
        PUBLIC_KEYS: "A JSON object: PEM texts of the key group by CloudFront's ids.",
        SIGNING_KEY: "ARN of the key in KMS, the secret or the parameter that links are signed with.",
        CODE_BUCKET: "Where the bundle lies; in this Region.",
        CODE_KEY: "Its key; another bundle has another one.",
    }
    secret: Mapping[str, Json] = {
        "Type": "String",
        "NoEcho": True,
        "AllowedPattern": "[A-Za-z0-9_-]{43,86}",
        "Description": "Drawn at random; the secrets of callers are derived from it.",
    }
    given: dict[str, Json] = {name: {"Type": "String", "Description": text} for name, text in described.items()}
    return {**given, SECRET: secret}


def _log_group(name: str) -> Resource:
    return resource("AWS::Logs::LogGroup", {"LogGroupName": name, "RetentionInDays": LOG_DAYS})


def _role(options: Options) -> Resource:
    """List one bucket, sign with one key, the table's calls, and its own log; objects can neither be read nor written."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    account = "${AWS::Partition}:dynamodb:%s:${AWS::AccountId}:table/%s"
    tables: Json = [sub("arn:" + account % (home.region, options.name)) for home in options.homes]
    below: Mapping[str, Json] = (
        {"Condition": {"StringLike": {"s3:prefix": [f"{options.folder[1:]}/*"]}}} if options.folder else {}
    )
    kind = "kms" if options.signing == "kms" else options.signing_key.partition(":")[0]
    granted: Mapping[str, Mapping[str, Json]] = {
        "ledger": statement("Allow", TABLE_ACTIONS, tables),
        "objects": statement("Allow", ["s3:ListBucket"], f"arn:aws:s3:::{options.bucket}", **below),
        "signing": statement("Allow", _KEY_ACTIONS[kind], ref(SIGNING_KEY)),
        "logs": statement("Allow", ["logs:CreateLogStream", "logs:PutLogEvents"], attribute("Logs", "Arn")),
    }
    policies: Json = [{"PolicyName": name, "PolicyDocument": policy(each)} for name, each in granted.items()]
    return resource("AWS::IAM::Role", {"AssumeRolePolicyDocument": policy(trust), "Policies": policies})


def _function(options: Options, api: Api) -> Resource:
    variables: Mapping[str, Json] = {
        api_variables.CONFIGURATION: ref(CONFIGURATION),
        api_variables.PUBLIC_KEYS: ref(PUBLIC_KEYS),
        api_variables.AUTHORIZER: api.authorizer,
        api_variables.SECRET: ref(SECRET),
    }
    properties: Mapping[str, Json] = {
        "FunctionName": f"{options.name}-api",
        "Description": f"oncegate {options.name}: the control API",
        "Runtime": RUNTIME,
        "Architectures": [ARCHITECTURE],
        "Handler": api_variables.HANDLER,
        "MemorySize": MEMORY_MB,
        "Timeout": TIMEOUT_S,
        "Role": attribute("Role", "Arn"),
        "Code": {"S3Bucket": ref(CODE_BUCKET), "S3Key": ref(CODE_KEY)},
        "Environment": {"Variables": variables},
    }
    # its log group first: Lambda would make one that keeps lines for ever
    return resource("AWS::Lambda::Function", properties, DependsOn=["Logs"])
