"""Signing keys that AWS keeps: in KMS, which signs and never gives the key away; in Secrets Manager or SSM, as PEM text.

``[keys] signing = "kms:<arn>"``, ``"secretsmanager:<arn>"`` or ``"ssm:<name or arn>"``. A KMS key signs with SHA-256
alone. What a service says no to is said with the right that is needed; a key or its text is in no message.

Source: AWS KMS API Reference, Sign, GetPublicKey; Secrets Manager API Reference, GetSecretValue; Systems Manager API
Reference, GetParameter; CloudFront Developer Guide, "Hash-Algorithm".
"""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from oncegate.aws_requests.blocking import CallFailed, Service, call
from oncegate.aws_requests.credentials import ChainCredentials, NoCredentials
from oncegate.aws_requests.signature import AwsCredentials
from oncegate.keys.pem import KeyKind, KeyUnfit, load_public_key

KMS = Service(name="kms", variable="KMS", target="TrentService")
SECRETS_MANAGER = Service(name="secretsmanager", variable="SECRETS_MANAGER", target="secretsmanager")
SSM = Service(name="ssm", variable="SSM", target="AmazonSSM")

_ARN = re.compile(r"arn:aws:([a-z]+):([a-z0-9-]+):[0-9]{12}:\S+")
_ALGORITHMS: Mapping[KeyKind, str] = {"ecdsa": "ECDSA_SHA_256", "rsa": "RSASSA_PKCS1_V1_5_SHA_256"}


class KmsKey:
    """A key in KMS, of which this process has the public half and the right to let it sign.

    Args:
        arn: of the key.
        environ: variables: credentials, and another server than AWS's.

    Raises:
        KeyUnfit: it is not there, may not be used, or is of a kind that links are not signed with.
    """

    def __init__(self, arn: str, environ: Mapping[str, str]) -> None:
        self._arn = arn
        self._region = _region_of(arn, KMS)
        self._environ = environ
        shown = _call(KMS, "GetPublicKey", {"KeyId": arn}, self._region, environ)
        lines = "\n".join(textwrap.wrap(str(shown["PublicKey"]), 64))
        try:
            public = load_public_key(f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n".encode())
        except KeyUnfit as unfit:
            raise unfit.at(f"kms:{arn}") from None
        self.kind: KeyKind = public.kind
        self.spki_sha256: bytes = public.spki_sha256
        if shown.get("KeyUsage", "SIGN_VERIFY") != "SIGN_VERIFY":
            raise KeyUnfit("it is a key for encryption", remedy="use one that signs and verifies", where=f"kms:{arn}")

    def named(self, key_id: str) -> KmsSigningKey:
        """The same, by the id of its public half."""
        return KmsSigningKey(self, key_id)

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Let KMS sign a message; one call, in about 20 ms within a Region."""
        if hash_name != "SHA256":
            raise KeyUnfit(f"KMS does not sign with {hash_name}", remedy="use SHA256", where=f"kms:{self._arn}")
        document = {
            "KeyId": self._arn,
            "Message": base64.b64encode(message).decode(),
            "MessageType": "RAW",
            "SigningAlgorithm": _ALGORITHMS[self.kind],
        }
        signed = _call(KMS, "Sign", document, self._region, self._environ)
        return base64.b64decode(str(signed["Signature"]))


class KmsSigningKey:
    """A key in KMS as links are signed with it; see ``links.key_group.SigningKey``."""

    def __init__(self, key: KmsKey, key_id: str) -> None:
        self._key = key
        self.key_id = key_id
        self.kind: KeyKind = key.kind
        self.spki_sha256: bytes = key.spki_sha256

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Sign a message."""
        return self._key.sign(message, hash_name)


def pem_of(spec: str, environ: Mapping[str, str]) -> bytes:
    """Fetch the PEM text of a private key.

    Args:
        spec: ``secretsmanager:<arn>`` or ``ssm:<name or arn>``.
        environ: variables: credentials, the Region of a name, and another server than AWS's.

    Raises:
        KeyUnfit: it is not there, or may not be read.
    """
    service, _, name = spec.partition(":")
    if service == "secretsmanager":
        answer = _call(
            SECRETS_MANAGER, "GetSecretValue", {"SecretId": name}, _region_of(name, SECRETS_MANAGER), environ
        )
        return str(answer.get("SecretString", "")).encode()
    region = _region_of(name, SSM) if name.startswith("arn:") else environ.get("AWS_REGION", "")
    if not region:
        raise KeyUnfit("no Region is known", remedy="set AWS_REGION, or write the parameter's ARN", where=spec)
    answer = _call(SSM, "GetParameter", {"Name": name, "WithDecryption": True}, region, environ)
    return str(answer["Parameter"]["Value"]).encode()


def _region_of(arn: str, service: Service) -> str:
    found = _ARN.fullmatch(arn)
    if found is None or found[1] != service.name:
        raise KeyUnfit(
            f"{arn!r} is no ARN of {service.name}",
            remedy=f"such as arn:aws:{service.name}:eu-central-1:111122223333:...",
            where="[keys] signing",
        )
    return found[2]


def _call(
    service: Service, operation: str, document: Mapping[str, object], region: str, environ: Mapping[str, str]
) -> Mapping[str, Any]:
    try:
        return call(service, operation, document, region=region, credentials=_credentials(environ), environ=environ)
    except NoCredentials as none:
        raise KeyUnfit(str(none), where="[keys] signing") from None
    except CallFailed as failed:
        right = f"{service.name}:{operation}"
        remedy = f"grant {right}" if "AccessDenied" in failed.code else ""
        raise KeyUnfit(f"{right}: {failed}", remedy=remedy, where="[keys] signing") from None


def _credentials(environ: Mapping[str, str]) -> AwsCredentials:
    return ChainCredentials().look_up(environ)
