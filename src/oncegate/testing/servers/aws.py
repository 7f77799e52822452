"""ministack with what the stacks of oncegate need beside it: CloudFormation, KMS, Lambda, CloudFront's records.

    with AwsEmulator(tmp_path, parts=repository / ".parts") as aws:
        os.environ.update(aws.environ)     # botocore, boto3 and oncegate find it by these

Two kinds of resources that it lacks are added when it starts: public keys and key groups of CloudFront. It keeps
CloudFront's records and serves no distribution: that is what ``oncegate.aws.referee`` does. Rights of roles are not
kept by it, nor are signatures checked. An exact version, because what is added hooks into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oncegate.testing.servers.object_stores import REGION, AwsServer

ACCOUNT = "111122223333"
"""The emulator takes twelve digits in place of a key id for the account."""

# Our own code, for the two kinds; it lies in the process of the emulator, which imports nothing of oncegate.
_LAUNCHER = """
import asyncio, sys, uuid
from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.services import cloudfront
from ministack.services.cloudformation import provisioners

def keep(table, kind, physical_id, config):
    table[physical_id] = {"Id": physical_id, "ETag": str(uuid.uuid4()), "Config": {"Comment": "", **config},
                          kind: cloudfront._now_iso()}
    return physical_id, {"Id": physical_id}

def make_key(logical_id, properties, stack):
    config = properties["PublicKeyConfig"]
    if not config["EncodedKey"].startswith("-----BEGIN PUBLIC KEY-----"):
        raise ValueError("EncodedKey is no public key in PEM")
    return keep(cloudfront._public_keys, "CreatedTime", cloudfront._pk_id(), config)

def change_key(physical_id, old, new, stack):
    if dict(old["PublicKeyConfig"]) != dict(new["PublicKeyConfig"]):
        raise ValueError("CannotChangeImmutablePublicKeyFields")
    return physical_id, {"Id": physical_id}

def make_group(logical_id, properties, stack):
    config = properties["KeyGroupConfig"]
    for key_id in config["Items"]:
        if key_id not in cloudfront._public_keys:
            raise ValueError("there is no public key " + key_id)
    return keep(cloudfront._key_groups, "LastModifiedTime", cloudfront._kg_id(), config)

def change_group(physical_id, old, new, stack):
    return keep(cloudfront._key_groups, "LastModifiedTime", physical_id, new["KeyGroupConfig"])

known = provisioners._RESOURCE_HANDLERS
known["AWS::CloudFront::PublicKey"] = {
    "create": make_key, "update": change_key, "delete": lambda key_id, _: cloudfront._public_keys.pop(key_id, None)}
known["AWS::CloudFront::KeyGroup"] = {
    "create": make_group, "update": change_group, "delete": lambda key_id, _: cloudfront._key_groups.pop(key_id, None)}
config = Config()
config.bind = ["127.0.0.1:" + sys.argv[1]]
asyncio.run(serve(app, config))
"""


class AwsEmulator(AwsServer):
    """ministack 1.5.33 on loopback, with public keys and key groups."""

    NAME = "aws-emulator"
    REQUIREMENT = "ministack==1.5.33 cryptography"

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables by which AWS's tools, and oncegate, find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _arguments(self) -> Sequence[str]:
        return ["-c", _LAUNCHER, str(self.port)]

    def _environ(self) -> Mapping[str, str]:
        # IOT_MTLS_ENABLED: else it opens a broker on every address
        return {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
        }

    def _health(self) -> str:
        return "/_localstack/health"
