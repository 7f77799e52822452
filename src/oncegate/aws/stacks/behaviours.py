"""What the distribution lets through: request policies as allow-lists, headers of answers, behaviours, error caching.

Each behaviour runs both triggers and asks for a signature; nothing is cached, errors neither. CloudFront keeps an
error for ten seconds by itself, whatever the cache policy says, and such an answer would swallow a claim: origin
response does not run for it, so nobody would give the use back.

Source: CloudFront Developer Guide, "Control origin requests with a policy", "Understand response headers policies",
"How CloudFront caches HTTP 4xx and 5xx status codes"; docs/aws-protocol.md 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncegate.aws.stacks.options import Options
from oncegate.aws.stacks.template import Json, Resource, ref, resource

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""AWS's own policy CachingDisabled; it also keeps CloudFront from answering two viewers by one origin request."""

CLAIM_HEADER = "x-oncegate-claim"
"""What viewer request tells origin response; dropped from what viewers send."""

DOWNLOAD_HEADERS = (CLAIM_HEADER,)
DOWNLOAD_QUERIES = (
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
)
UPLOAD_HEADERS = (
    CLAIM_HEADER,
    "Content-MD5",
    "If-None-Match",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
)
"""CloudFront takes ten in a policy. No other x-amz-* of a viewer may pass: OAC would sign x-amz-copy-source."""

METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
"""CloudFront knows three sets; the button of the page is a POST. The function refuses what is not served."""

ERROR_STATUSES = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
"""All that CloudFront would keep."""

HSTS_S = 31_536_000
SANDBOX = "sandbox; default-src 'none'"
"""Of objects: a page among them must not run in the links' origin. Pages of the function bring their own."""


def request_policy(name: str, headers: Sequence[str], queries: Sequence[str]) -> Resource:
    """What of a viewer's request reaches the bucket."""
    config: Mapping[str, Json] = {
        "Name": name,
        "CookiesConfig": {"CookieBehavior": "none"},
        "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": list(headers)},
        "QueryStringsConfig": {"QueryStringBehavior": "whitelist", "QueryStrings": list(queries)}
        if queries
        else {"QueryStringBehavior": "none"},
    }
    return resource("AWS::CloudFront::OriginRequestPolicy", {"OriginRequestPolicyConfig": config})


def headers_policy(options: Options) -> Resource:
    """What every answer carries, the bucket's and the function's."""
    config: dict[str, Json] = {
        "Name": options.name,
        "SecurityHeadersConfig": {
            "ContentTypeOptions": {"Override": True},
            "ContentSecurityPolicy": {"ContentSecurityPolicy": SANDBOX, "Override": False},
            "ReferrerPolicy": {"ReferrerPolicy": "no-referrer", "Override": True},
            "StrictTransportSecurity": {"AccessControlMaxAgeSec": HSTS_S, "Override": True},
        },
        "CustomHeadersConfig": {
            "Items": [{"Header": "Cache-Control", "Value": "private, no-store", "Override": True}],
        },
    }
    if options.cors_origins:
        config["CorsConfig"] = {
            "AccessControlAllowCredentials": False,
            "AccessControlAllowHeaders": {"Items": ["*"]},
            "AccessControlAllowMethods": {"Items": ["GET", "HEAD", "PUT"]},
            "AccessControlAllowOrigins": {"Items": list(options.cors_origins)},
            "AccessControlExposeHeaders": {"Items": ["Content-Disposition", "ETag"]},
            "OriginOverride": True,
        }
    return resource("AWS::CloudFront::ResponseHeadersPolicy", {"ResponseHeadersPolicyConfig": config})


def behaviour(version: str, request_policy_name: str) -> dict[str, Json]:
    """A behaviour: signed, over TLS, never cached, with both triggers of one version of the function."""
    return {
        "TargetOriginId": "objects",
        "ViewerProtocolPolicy": "https-only",
        "Compress": False,
        "CachePolicyId": CACHING_DISABLED,
        "OriginRequestPolicyId": ref(request_policy_name),
        "ResponseHeadersPolicyId": ref("Headers"),
        "TrustedKeyGroups": [ref("KeyGroup")],
        "AllowedMethods": list(METHODS),
        "LambdaFunctionAssociations": [
            {"EventType": event, "LambdaFunctionARN": ref(version)} for event in ("viewer-request", "origin-response")
        ],
    }


def errors_kept_for_no_time() -> Json:
    """Every status that CloudFront would keep, with a caching time of 0."""
    return [{"ErrorCode": status, "ErrorCachingMinTTL": 0} for status in ERROR_STATUSES]
