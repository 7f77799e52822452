"""The stack ``edge`` in us-east-1: public keys, key group, and the function with its role.

The distribution that carries them is written in ``distribution``.

Source: CloudFront Developer Guide, "Restrictions on Lambda@Edge", "Use signed URLs"; docs/aws-protocol.md 3.1, 3.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from oncegate.aws.stacks.behaviours import (
    DOWNLOAD_HEADERS,
    DOWNLOAD_QUERIES,
    UPLOAD_HEADERS,
    headers_policy,
    request_policy,
)
from oncegate.aws.stacks.distribution import in_front
from oncegate.aws.stacks.edge_code import CLAIM_KEY_MARK, configuration_of, configured, digest_of
from oncegate.aws.stacks.options import EDGE_REGION, DeploymentUnfit, Options
from oncegate.aws.stacks.options_text import options_metadata
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

MEMORY_MB = 128
TIMEOUT_S = 5
"""The most that viewer request may have by every text of AWS's; newer ones allow more."""
RUNTIME = "python3.13"
CLAIM_KEY = "ClaimKey"


def edge_template(options: Options, code: str, *, signing_keys: Sequence[str] = ()) -> dict[str, Json]:
    """Write the template.

    Args:
        options: of the deployment.
        signing_keys: PEM texts of the keys in KMS that are trusted beside ``options.public_keys``.
        code: the edge function, as ``edge_code.joined_code`` reads it.

    Raises:
        DeploymentUnfit: there is no key to trust, or the function is too long.
    """
    pems = (*signing_keys, *options.public_keys)
    if not pems:
        raise DeploymentUnfit("a key group holds at least one key", where="--public-key")
    whole = configured(code, configuration_of(options))
    version = version_name(options, code)
    keys = {_key_name(pem): pem for pem in pems}
    resources: dict[str, Resource] = {
        **{name: _public_key(options.name, name, pem) for name, pem in keys.items()},
        "KeyGroup": resource(
            "AWS::CloudFront::KeyGroup",
            {"KeyGroupConfig": {**_note(options), "Name": options.name, "Items": [ref(name) for name in keys]}},
        ),
        "Role": _role(options),
        "Function": _function(options.name, whole),
        version: resource("AWS::Lambda::Version", {"FunctionName": ref("Function")}, **KEPT),
        "OriginAccess": _origin_access(options.name),
        "Headers": headers_policy(options),
        "DownloadRequest": request_policy(f"{options.name}-get", DOWNLOAD_HEADERS, DOWNLOAD_QUERIES),
    }
    if options.uploads:
        resources["UploadRequest"] = request_policy(f"{options.name}-put", UPLOAD_HEADERS, ())
    outputs: dict[str, Json] = {
        "Bucket": options.bucket,
        "Homes": ",".join(f"{home.name}={home.region}" for home in options.homes),
        "FunctionVersion": ref(version),
        "KeyGroup": ref("KeyGroup"),
        "OriginAccess": ref("OriginAccess"),
        "HeadersPolicy": ref("Headers"),
        "DownloadPolicy": ref("DownloadRequest"),
        **({"UploadPolicy": ref("UploadRequest")} if options.uploads else {}),
        **{f"KeyId{name.removeprefix('Key')}": ref(name) for name in keys},
    }
    if options.makes_distribution:
        resources |= in_front(options, version)
        arn = "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Distribution}"
        outputs |= {
            "Domain": attribute("Distribution", "DomainName"),
            "DistributionId": ref("Distribution"),
            "DistributionArn": sub(arn),
        }
    return template(
        f"oncegate {options.name}: the distribution and its edge function",
        resources,
        outputs,
        _parameters(),
        options_metadata(options),
    )


def version_name(options: Options, code: str) -> str:
    """Logical id of the function's version: another code or configuration is another one."""
    return f"Version{digest_of(configured(code, configuration_of(options)))}"


def _note(options: Options) -> Mapping[str, Json]:
    return {"Comment": options.rotation.words} if options.rotation.words else {}


def key_output(pem: str) -> str:
    """Name of the output that holds CloudFront's id of a public key."""
    return f"KeyId{_key_name(pem).removeprefix('Key')}"


def _key_name(pem: str) -> str:
    """EncodedKey can never be changed, so another key is another resource."""
    return f"Key{hashlib.sha256(pem.encode()).hexdigest()[:12]}"


def _parameters() -> Mapping[str, Json]:
    return {
        CLAIM_KEY: {
            "Type": "String",
            "NoEcho": True,
            "AllowedPattern": "[A-Za-z0-9_-]{43,86}",
            "Description": "Drawn at random; claim ids are made with it, so that no viewer can forge one.",
        }
    }


def _public_key(deployment: str, name: str, pem: str) -> Resource:
    config: Mapping[str, Json] = {"Name": f"{deployment}-{name}", "CallerReference": name, "EncodedKey": pem}
    return resource("AWS::CloudFront::PublicKey", {"PublicKeyConfig": config})


def _role(options: Options) -> Resource:
    """Two calls on the exact tables, and its own log groups; those lie in the Region where a viewer was served."""
    account = "${AWS::Partition}:%s:${AWS::AccountId}:%s"
    tables: Json = [
        sub("arn:" + account % (f"dynamodb:{home.region}", f"table/{options.name}")) for home in options.homes
    ]
    logs = sub("arn:" + account % ("logs:*", f"log-group:/aws/lambda/{EDGE_REGION}.{options.name}-edge:*"))
    services: Json = {"Service": ["lambda.amazonaws.com", "edgelambda.amazonaws.com"]}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": services}
    writes = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    policies: Json = [
        {
            "PolicyName": "ledger",
            "PolicyDocument": policy(statement("Allow", ["dynamodb:GetItem", "dynamodb:PutItem"], tables)),
        },
        {"PolicyName": "logs", "PolicyDocument": policy(statement("Allow", writes, logs))},
    ]
    return resource("AWS::IAM::Role", {"AssumeRolePolicyDocument": policy(trust), "Policies": policies})


def _function(name: str, whole: str) -> Resource:
    """Within what Lambda@Edge takes: no variables, layers, tracing; x86-64, 128 MB, 5 s."""
    head, _, tail = whole.partition(CLAIM_KEY_MARK)
    properties: Mapping[str, Json] = {
        "FunctionName": f"{name}-edge",
        "Description": f"oncegate {name}, {digest_of(whole)}",
        "Runtime": RUNTIME,
        "Handler": "index.handler",
        "Architectures": ["x86_64"],
        "MemorySize": MEMORY_MB,
        "Timeout": TIMEOUT_S,
        "Role": attribute("Role", "Arn"),
        "Code": {"ZipFile": {"Fn::Join": ["", [head, ref(CLAIM_KEY), tail]]}},
    }
    # retained: its replicas go hours after the distribution let go of them, and until then it cannot be deleted
    return resource("AWS::Lambda::Function", properties, **KEPT)


def _origin_access(name: str) -> Resource:
    config: Mapping[str, Json] = {
        "Name": name,
        "OriginAccessControlOriginType": "s3",
        "SigningBehavior": "always",
        "SigningProtocol": "sigv4",
    }
    return resource("AWS::CloudFront::OriginAccessControl", {"OriginAccessControlConfig": config})
