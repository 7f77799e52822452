"""The stack ``home``: one Region's table, and in the first home the bucket and the signing key. All of it is retained.

Small enough to be sent as it is. The bucket policy lets in nobody but CloudFront, and CloudFront only for one
distribution, which stands later: so this stack is applied a second time when its ARN is known.

Source: CloudFront Developer Guide, "Restrict access to an Amazon S3 origin"; Amazon S3 User Guide, "Enforce conditional
writes"; docs/aws-protocol.md 2.5.4, 3.5.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncegate.aws.stacks.options import Home, Options
from oncegate.aws.stacks.rotation import key_name, key_output
from oncegate.aws.stacks.template import (
    KEPT,
    Json,
    Resource,
    attribute,
    policy,
    ref,
    resource,
    statement,
    sub,
    template,
)
from oncegate.ledgers.dynamodb.items import TTL_ATTRIBUTE

_BLOCKED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
PARTS_LIVE_DAYS = 1


def home_template(options: Options, home: Home, *, distribution_arn: str = "") -> dict[str, Json]:
    """Write the template of one home.

    Args:
        options: of the deployment.
        home: one of ``options.homes``.
        distribution_arn: whom the bucket lets in; empty: nobody yet.
    """
    has_bucket = home == options.first and options.makes_bucket
    resources: dict[str, Resource] = {}
    outputs: dict[str, Json] = {"TableArn": attribute("Table", "Arn"), "TableName": ref("Table")}
    if home == options.first:
        if options.signing == "kms":
            for generation in options.rotation.generations:
                resources[key_name(generation)] = _signing_key(options.name)
                outputs[key_output(generation)] = attribute(key_name(generation), "Arn")
        if has_bucket:
            resources |= _bucket(options, distribution_arn)
            outputs["BucketName"] = ref("Bucket")
        if options.api:
            resources |= _code_bucket()
            outputs["CodeBucket"] = ref("CodeBucket")
    if options.alarm_topic and home.region == "us-east-1":
        resources["Throttled"] = _throttled(options)
    resources["Table"] = _table(options.name, after=tuple(resources))
    named = f", {home.name}" if home.name else ""
    return template(f"oncegate {options.name}: a home{named}, its ledger and its objects", resources, outputs)


def _table(name: str, *, after: Sequence[str]) -> Resource:
    """As ``ledgers/dynamodb/table.py`` makes it.

    The last of its stack: it cannot be deleted, so nothing may fail after it; a stack that failed could else not be
    rolled back, and the name would be taken.
    """
    properties: Mapping[str, Json] = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "KeySchema": [{"AttributeName": "s", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in ("s", "id")],
        "TimeToLiveSpecification": {"AttributeName": TTL_ATTRIBUTE, "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }
    depends: Mapping[str, Json] = {"DependsOn": list(after)} if after else {}
    return resource("AWS::DynamoDB::Table", properties, **KEPT, **depends)


def _signing_key(name: str) -> Resource:
    """A key that signs and never leaves KMS. Its account's administrators decide who may use it."""
    who = {"AWS": sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
    properties: Mapping[str, Json] = {
        "Description": f"oncegate {name}: signs links",
        "KeySpec": "ECC_NIST_P256",
        "KeyUsage": "SIGN_VERIFY",
        "KeyPolicy": policy(statement("Allow", ["kms:*"], "*", Sid="Account", Principal=who)),
    }
    return resource("AWS::KMS::Key", properties, **KEPT)


def _bucket(options: Options, distribution_arn: str) -> dict[str, Resource]:
    properties: dict[str, Json] = {
        "BucketName": options.bucket,
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "PublicAccessBlockConfiguration": dict.fromkeys(_BLOCKED, True),
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        "LifecycleConfiguration": {
            "Rules": [
                {
                    "Id": "parts-of-uploads",
                    "Status": "Enabled",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": PARTS_LIVE_DAYS},
                }
            ]
        },
    }
    if options.is_versioned:
        properties["VersioningConfiguration"] = {"Status": "Enabled"}
    statements = bucket_statements(options, distribution_arn)
    return {
        "Bucket": resource("AWS::S3::Bucket", properties, **KEPT),
        "BucketPolicy": resource(
            "AWS::S3::BucketPolicy", {"Bucket": ref("Bucket"), "PolicyDocument": policy(*statements)}, **KEPT
        ),
    }


def bucket_statements(options: Options, distribution_arn: str) -> Sequence[Mapping[str, Json]]:
    """The statements that a bucket's policy needs; also for who brings their own bucket and merges them.

    Args:
        options: of the deployment.
        distribution_arn: who may read; empty: only the statement on TLS is written.
    """
    whole = f"arn:aws:s3:::{options.bucket}"
    front: Mapping[str, Json] = {"Service": "cloudfront.amazonaws.com"}
    statements: list[Mapping[str, Json]] = [
        statement(
            "Deny",
            ["s3:*"],
            [whole, f"{whole}/*"],
            Sid="TlsOnly",
            Principal="*",
            Condition={"Bool": {"aws:SecureTransport": "false"}},
        )
    ]
    if not distribution_arn:
        return statements
    only: Json = {"StringEquals": {"AWS:SourceArn": distribution_arn}}
    objects = f"{whole}{options.folder}/*"
    statements.append(
        statement("Allow", ["s3:GetObject"], objects, Sid="DistributionReads", Principal=front, Condition=only)
    )
    if options.uploads:
        inboxes: Json = [f"{whole}{options.folder}/{prefix}*" for prefix in options.uploads]
        unconditional: Json = {"Null": {"s3:if-none-match": "true"}}
        statements += [
            statement("Allow", ["s3:PutObject"], inboxes, Sid="DistributionCreates", Principal=front, Condition=only),
            statement(
                "Deny", ["s3:PutObject"], inboxes, Sid="AndNeverReplaces", Principal=front, Condition=unconditional
            ),
        ]
    return statements


def _code_bucket() -> dict[str, Resource]:
    """Where the bundle of the API's function lies, apart from the objects, which links open and calls list."""
    blocked: Mapping[str, Json] = dict.fromkeys(_BLOCKED, True)
    arn = attribute("CodeBucket", "Arn")
    tls_only = statement(
        "Deny",
        ["s3:*"],
        [arn, {"Fn::Join": ["", [arn, "/*"]]}],
        Sid="TlsOnly",
        Principal="*",
        Condition={"Bool": {"aws:SecureTransport": "false"}},
    )
    return {
        "CodeBucket": resource("AWS::S3::Bucket", {"PublicAccessBlockConfiguration": blocked}),
        "CodeBucketPolicy": resource(
            "AWS::S3::BucketPolicy", {"Bucket": ref("CodeBucket"), "PolicyDocument": policy(tls_only)}
        ),
    }


def _throttled(options: Options) -> Resource:
    """Claims that the table did not take: viewers get 503."""
    properties: Mapping[str, Json] = {
        "AlarmDescription": f"oncegate {options.name}: the ledger is throttled, viewers get 503",
        "Namespace": "AWS/DynamoDB",
        "MetricName": "WriteThrottleEvents",
        "Dimensions": [{"Name": "TableName", "Value": options.name}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [options.alarm_topic],
    }
    return resource("AWS::CloudWatch::Alarm", properties)
