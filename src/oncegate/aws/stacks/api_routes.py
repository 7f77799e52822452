"""In the stack ``api``: the HTTP API, its routes, their authorizer, and its way to the function.

Every route has the authorizer, none is open, and there is no route for what the control API does not have.

Source: API Gateway Developer Guide, "Working with HTTP APIs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from oncegate.aws.stacks.options import Api, Options
from oncegate.aws.stacks.template import Json, Resource, attribute, ref, resource, sub

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


def http_api(options: Options, api: Api) -> dict[str, Resource]:
    """Write its resources, by their logical ids; the stack names its function ``Function``, its log ``AccessLogs``.

    Args:
        options: of the deployment.
        api: what they say of the API.
    """
    return {
        "Api": _api(options, api),
        "Integration": _integration(),
        **({"Authorizer": _authorizer(api)} if api.authorizer == "jwt" else {}),
        **{_name_of(route): _route(route, api) for route in ROUTES},
        "Stage": _stage(),
        "MayInvoke": _may_invoke(),
    }


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
