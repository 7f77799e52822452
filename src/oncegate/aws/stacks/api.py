"""The stack ``api``, beside the first home: the control API's routes, their authorizer, and the function behind them.

Every route has the authorizer, none is open, and there is no route for what the API does not have. What is known only
when the other stacks stand comes as a parameter, so the template follows from the options alone.

Source: API Gateway Developer Guide, "Working with HTTP APIs"; Service Authorization Reference for the actions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oncegate.aws.stacks import api_variables
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
RATE_PER_S = 50
BURST = 100
"""Our choice: links are made by programs of one's own, and each may cost a signature of KMS."""
PREFLIGHT_KEPT_S = 600

ROUTES = (
    "POST /v1/links",
    "GET /v1/links",
    "GET /v1/links/{id}",
    "DELETE /v1/links/{id}",
    "POST /v1/explain",
    "GET /v1/objects",
    "GET /v1/events",
    "GET /get-url",
    "GET /url",
    "HEAD /url",
    "POST /urls",
    "POST /v1/urls",
    "GET /s3objects",
    "GET /v1/s3objects",
    "GET /readyz",
    "GET /openapi.json",
)
"""The calls that a deployment has; a test holds them against the OpenAPI document. ``HEAD /url`` is there to be
refused (405): a published design made a link by it."""

CORS_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key"),
    *("X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token"),
)
CORS_EXPOSED = ("Retry-After", "X-Oncegate-Truncated", "X-Request-Id")
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

_ACCESS = {
    "at": "$context.requestTime",
    "caller": "$context.identity.caller",
    "error": "$context.error.message",
    "ip": "$context.identity.sourceIp",
    "ms": "$context.responseLatency",
    "request": "$context.requestId",
    "route": "$context.routeKey",
    "status": "$context.status",
}
"""What the access log has of a request: its route and not its path or query, where keys and links may stand."""
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
        "Api": _api(options, api),
        "Integration": _integration(),
        **({"Authorizer": _authorizer(api)} if api.authorizer == "jwt" else {}),
        **{_name_of(route): _route(route, api) for route in ROUTES},
        "Stage": _stage(),
        "MayInvoke": _may_invoke(),
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


def _api(options: Options, api: Api) -> Resource:
    properties: dict[str, Json] = {"Name": f"{options.name}-api", "ProtocolType": "HTTP"}
    if api.cors_origins:
        properties["CorsConfiguration"] = {
            "AllowCredentials": False,
            "AllowHeaders": list(CORS_HEADERS),
            "AllowMethods": ["GET", "POST", "DELETE"],
            "AllowOrigins": list(api.cors_origins),
            "ExposeHeaders": list(CORS_EXPOSED),
            "MaxAge": PREFLIGHT_KEPT_S,
        }
    return resource("AWS::ApiGatewayV2::Api", properties)


def _integration() -> Resource:
    properties: Mapping[str, Json] = {
        "ApiId": ref("Api"),
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": attribute("Function", "Arn"),
        "PayloadFormatVersion": "2.0",
    }
    return resource("AWS::ApiGatewayV2::Integration", properties)


def _authorizer(api: Api) -> Resource:
    properties: Mapping[str, Json] = {
        "ApiId": ref("Api"),
        "Name": "jwt",
        "AuthorizerType": "JWT",
        "IdentitySource": ["$request.header.Authorization"],
        "JwtConfiguration": {"Audience": list(api.audience), "Issuer": api.issuer},
    }
    return resource("AWS::ApiGatewayV2::Authorizer", properties)


def _route(route: str, api: Api) -> Resource:
    authorized: Mapping[str, Json] = (
        {"AuthorizationType": "JWT", "AuthorizerId": ref("Authorizer")}
        if api.authorizer == "jwt"
        else {"AuthorizationType": "AWS_IAM"}
    )
    target = {"Fn::Join": ["/", ["integrations", ref("Integration")]]}
    return resource(
        "AWS::ApiGatewayV2::Route", {"ApiId": ref("Api"), "RouteKey": route, "Target": target, **authorized}
    )


def _name_of(route: str) -> str:
    """Logical id of a route: ``RouteGetV1LinksId``."""
    return "Route" + "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", route))


def _stage() -> Resource:
    properties: Mapping[str, Json] = {
        "ApiId": ref("Api"),
        "StageName": "$default",
        "AutoDeploy": True,
        "DefaultRouteSettings": {"ThrottlingBurstLimit": BURST, "ThrottlingRateLimit": RATE_PER_S},
        "AccessLogSettings": {
            "DestinationArn": attribute("AccessLogs", "Arn"),
            "Format": "{" + ",".join(f'"{name}":"{value}"' for name, value in sorted(_ACCESS.items())) + "}",
        },
    }
    return resource("AWS::ApiGatewayV2::Stage", properties)


def _may_invoke() -> Resource:
    properties: Mapping[str, Json] = {
        "Action": "lambda:InvokeFunction",
        "FunctionName": ref("Function"),
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": sub("arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"),
    }
    return resource("AWS::Lambda::Permission", properties)
