"""Signing keys that AWS keeps: KMS, Secrets Manager and SSM, on an emulator."""

from __future__ import annotations

import base64
import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.aws.test_api_function import at, environ_of, in_an_hour, request

from oncegate.aws.stacks.api_variables import CONFIGURATION, PUBLIC_KEYS
from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyUnfit, load_public_key, new_key_pair
from oncegate.keys.signing import open_signing_key
from oncegate.library.verifying import verify
from oncegate.service import api_function
from oncegate.service.api_function import ApiFunction
from oncegate.testing.servers.aws import ACCOUNT, AwsEmulator


def group_of(folder: Path, public: bytes) -> KeyFolder:
    """A key group that holds one key as K1."""
    (folder / "keys").mkdir()
    (folder / "keys" / "K1.pem").write_bytes(public)
    return KeyFolder(folder / "keys")


def pem(der: bytes) -> bytes:
    """A public key as PEM."""
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n".encode()


def kms_key(spec: str, usage: str = "SIGN_VERIFY") -> tuple[str, bytes]:
    """A new key in KMS, and its public half."""
    kms: Any = boto3.client("kms")
    arn = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    return arn, pem(kms.get_public_key(KeyId=arn)["PublicKey"])


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048"])
def test_a_key_in_kms_signs_what_its_public_half_verifies(aws: AwsEmulator, tmp_path: Path, spec: str) -> None:
    """CloudFront takes both kinds with SHA-256; the signature's form must be the one that it reads."""
    arn, public = kms_key(spec)
    key = open_signing_key(f"kms:{arn}", tmp_path, os.environ, group=group_of(tmp_path, public))
    assert key.key_id == "K1"
    assert load_public_key(public).verify(key.sign(b"policy", "SHA256"), b"policy", "SHA256")
    with pytest.raises(KeyUnfit, match="SHA1"):
        key.sign(b"policy", "SHA1")


def test_a_key_in_kms_whose_public_half_is_not_trusted_is_refused(aws: AwsEmulator, tmp_path: Path) -> None:
    """Links that it signed would open for nobody."""
    arn, _ = kms_key("ECC_NIST_P256")
    with pytest.raises(KeyUnfit, match="not in the key group"):
        open_signing_key(f"kms:{arn}", tmp_path, os.environ, group=group_of(tmp_path, new_key_pair("ecdsa")[1]))


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@pytest.mark.parametrize("service", ["secretsmanager", "ssm by name", "ssm by arn"])
def test_a_key_in_a_secret_signs(aws: AwsEmulator, tmp_path: Path, service: str, kind: Any) -> None:
    """As PEM text, in the place where published designs keep theirs."""
    private, public = new_key_pair(kind)
    name = f"{tmp_path.name}-{kind}"
    if service == "secretsmanager":
        secrets: Any = boto3.client("secretsmanager")
        spec = f"secretsmanager:{secrets.create_secret(Name=name, SecretString=private.decode())['ARN']}"
    else:
        ssm: Any = boto3.client("ssm")
        ssm.put_parameter(Name=f"/{name}", Value=private.decode(), Type="SecureString")
        spec = f"ssm:/{name}" if service == "ssm by name" else f"ssm:arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/{name}"
    key = open_signing_key(spec, tmp_path, os.environ, group=group_of(tmp_path, public))
    assert load_public_key(public).verify(key.sign(b"policy", "SHA256"), b"policy", "SHA256")


def spec_of(service: str, kind: Any, name: str) -> tuple[str, bytes]:
    """A key of a kind that a service keeps, as ``[keys] signing`` has it, and its public half."""
    if service == "kms":
        arn, public = kms_key({"ecdsa": "ECC_NIST_P256", "rsa": "RSA_2048"}[kind])
        return f"kms:{arn}", public
    private, public = new_key_pair(kind)
    if service == "secretsmanager":
        secrets: Any = boto3.client("secretsmanager")
        return f"secretsmanager:{secrets.create_secret(Name=name, SecretString=private.decode())['ARN']}", public
    ssm: Any = boto3.client("ssm")
    ssm.put_parameter(Name=f"/{name}", Value=private.decode(), Type="SecureString")
    return f"ssm:arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/{name}", public


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@pytest.mark.parametrize("service", ["kms", "secretsmanager", "ssm"])
def test_the_api_signs_with_it(aws: AwsEmulator, tmp_path: Path, service: str, kind: Any) -> None:
    """The same link, wherever the key is: asked for by a call and by a direct invocation."""
    spec, public = spec_of(service, kind, f"api-{tmp_path.name}-{kind}")
    environ = {**environ_of(tmp_path), PUBLIC_KEYS: json.dumps({"K1": public.decode()}), **os.environ}
    environ[CONFIGURATION] = re.sub(r"signing = .*", f'signing = "{spec}"', environ[CONFIGURATION])
    function = ApiFunction(environ, tmp_path / "laid")
    called: Any = function.answer(request("GET", "/get-url", query="key=a.txt"))
    for url in (json.loads(called["body"])["url"], str(function.answer(at(in_an_hour())))):
        assert "Hash-Algorithm=SHA256" in url
        assert "Key-Pair-Id=K1" in url
        verify(url, config=tmp_path / "laid" / "oncegate.toml")
    function.close()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_secret_that_is_exchanged_signs_when_it_is_fetched_again(
    aws: AwsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """F2.7, F2.8: fetched at every call, or never again. Both halves are trusted first, as a rotation does it."""
    spec, first = spec_of("secretsmanager", kind, f"turned-{tmp_path.name}-{kind}")
    private, second = new_key_pair(kind)
    keys = json.dumps({"K1": first.decode(), "K2": second.decode()})
    environ = {**environ_of(tmp_path), PUBLIC_KEYS: keys, **os.environ}
    environ[CONFIGURATION] = re.sub(r"signing = .*", f'signing = "{spec}"', environ[CONFIGURATION])
    function = ApiFunction(environ, tmp_path / "laid")
    assert "Key-Pair-Id=K1" in str(function.answer(at(in_an_hour())))
    secrets: Any = boto3.client("secretsmanager")
    secrets.put_secret_value(SecretId=spec.partition(":")[2], SecretString=private.decode())
    assert "Key-Pair-Id=K1" in str(function.answer(at(in_an_hour())))
    monkeypatch.setattr(function._key, "_fetched_at", -api_function.KEY_KEPT_S)
    assert "Key-Pair-Id=K2" in str(function.answer(at(in_an_hour())))
    function.close()


@pytest.mark.parametrize(
    "spec",
    [
        f"kms:arn:aws:kms:us-east-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000",
        f"secretsmanager:arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:none",
        "ssm:/none",
    ],
)
def test_a_key_that_is_not_there_is_said_with_its_call(aws: AwsEmulator, tmp_path: Path, spec: str) -> None:
    """The right that is missing is most often the reason; it has the call's name."""
    with pytest.raises(KeyUnfit, match=r"(GetPublicKey|GetSecretValue|GetParameter)"):
        open_signing_key(spec, tmp_path, os.environ, group=group_of(tmp_path, new_key_pair("ecdsa")[1]))
