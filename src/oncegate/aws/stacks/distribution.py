"""The distribution of the stack ``edge``, and what belongs to it alone: its DNS record and its alarms.

``behaviours`` says what it lets through. Source: docs/aws-protocol.md 1.2.7, 3.5.
"""

from __future__ import annotations

from collections.abc import Mapping

from oncegate.aws.stacks.behaviours import behaviour, errors_kept_for_no_time
from oncegate.aws.stacks.options import Options
from oncegate.aws.stacks.template import Json, Resource, attribute, ref, resource

CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
"""The hosted zone of every distribution, as Route 53's alias records name it."""

_ALARMS: Mapping[str, tuple[str, str, int]] = {
    "5xxErrorRate": ("Average", "viewers get errors of ours", 5),
    "LambdaExecutionError": ("Sum", "the edge function failed", 1),
    "LambdaLimitExceededError": ("Sum", "the edge function was throttled", 1),
}


def in_front(options: Options, version: str) -> dict[str, Resource]:
    """The distribution, and what belongs to it alone."""
    found = {"Distribution": _distribution(options, version)}
    if options.zone:
        found["DnsRecord"] = _dns_record(options)
    if options.alarm_topic:
        found |= {f"Alarm{metric}": _alarm(options, metric) for metric in _ALARMS}
    return found


def _distribution(options: Options, version: str) -> Resource:
    origin: Mapping[str, Json] = {
        "Id": "objects",
        "DomainName": options.origin_domain,
        "OriginPath": options.folder,
        "OriginAccessControlId": ref("OriginAccess"),
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    certificate: Mapping[str, Json] = (
        {
            "AcmCertificateArn": options.certificate,
            "MinimumProtocolVersion": "TLSv1.2_2021",
            "SslSupportMethod": "sni-only",
        }
        if options.domain
        else {"CloudFrontDefaultCertificate": True}
    )
    uploads: Json = [{"PathPattern": f"{prefix}*", **behaviour(version, "UploadRequest")} for prefix in options.uploads]
    config: dict[str, Json] = {
        "Enabled": True,
        "Comment": f"oncegate {options.name}: links that open once",
        "HttpVersion": "http2and3",
        # a policy's IpAddress is IPv4, so a viewer of IPv6 could open no link that has one
        "IPV6Enabled": False,
        "Origins": [origin],
        "DefaultCacheBehavior": behaviour(version, "DownloadRequest"),
        "CacheBehaviors": uploads,
        "CustomErrorResponses": errors_kept_for_no_time(),
        "ViewerCertificate": certificate,
    }
    if options.domain:
        config["Aliases"] = [options.domain]
    return resource("AWS::CloudFront::Distribution", {"DistributionConfig": config})


def _dns_record(options: Options) -> Resource:
    target: Mapping[str, Json] = {"DNSName": attribute("Distribution", "DomainName"), "HostedZoneId": CLOUDFRONT_ZONE}
    return resource(
        "AWS::Route53::RecordSet",
        {"HostedZoneId": options.zone, "Name": options.domain, "Type": "A", "AliasTarget": target},
    )


def _alarm(options: Options, metric: str) -> Resource:
    statistic, words, threshold = _ALARMS[metric]
    properties: Mapping[str, Json] = {
        "AlarmDescription": f"oncegate {options.name}: {words}",
        "Namespace": "AWS/CloudFront",
        "MetricName": metric,
        "Dimensions": [
            {"Name": "DistributionId", "Value": ref("Distribution")},
            {"Name": "Region", "Value": "Global"},
        ],
        "Statistic": statistic,
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [options.alarm_topic],
    }
    return resource("AWS::CloudWatch::Alarm", properties)
