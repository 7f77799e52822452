"""Making a link, beside the signers that people have and the bare ``cryptography`` call.

botocore's ``CloudFrontSigner`` is given a function that signs: AWS documents it with the package ``rsa``, in pure Python,
and others write it with ``cryptography``. Both load the key once. The signer for JavaScript runs in Node, and is timed there.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from benchmarks.figures import Sample
from benchmarks.plan import Outcome, Plan, Table
from benchmarks.signing import KEY, KINDS, PUBLIC_URL, Key, compare, timed

PARTS = Path(__file__).parents[2] / ".parts" / "bench"
"""Where scripts/bench puts the signers of others."""
NODE_SCRIPT = Path(__file__).parents[1] / "sign.mjs"
URL = f"{PUBLIC_URL}/{KEY}"
RUN_WITHIN_S = 120


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    table = Table("Making a link", ("Signer", "us", "bare call = 1"))
    for kind in KINDS:
        plan.say(f"sign {kind}")
        key = Key(kind, plan.pick(200, 100, 20))
        ways: dict[str, Callable[[int], Sample]] = {"oncegate": key.sign, "bare call": key.sign_bare}
        if kind == "rsa":
            ways |= others(key.private_pem, plan, outcome)
        compare(kind, ways, outcome, table, rounds=plan.pick(9, 7, 1), chart="sign")
    outcome.tables.append(table)
    return outcome


def others(private_pem: bytes, plan: Plan, outcome: Outcome) -> dict[str, Callable[[int], Sample]]:
    """Return the signers of others that are installed, with an RSA key."""
    count = plan.pick(100, 50, 5)
    private = load_pem_private_key(private_pem, None)
    assert isinstance(private, RSAPrivateKey)
    ends = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=1)

    def by_botocore(sign: Callable[[bytes], bytes], count: int = count) -> Callable[[int], Sample]:
        signer = _untyped("botocore.signers").CloudFrontSigner("K1", sign)
        return lambda _: timed([partial(signer.generate_presigned_url, URL, date_less_than=ends)] * count)

    client = _untyped("boto3").client(
        "s3", region_name="eu-central-1", aws_access_key_id="AKID", aws_secret_access_key="secret"
    )
    presign = partial(client.generate_presigned_url, "get_object", Params={"Bucket": "b", "Key": KEY})
    found: dict[str, Callable[[int], Sample]] = {
        "botocore with cryptography": by_botocore(lambda data: private.sign(data, padding.PKCS1v15(), SHA1())),
        "boto3 presign (S3, HMAC)": lambda _: timed([presign] * count),
    }
    sys.path.append(str(PARTS / "python"))
    try:
        pure = _untyped("rsa")
    except ModuleNotFoundError:
        outcome.left_out.append("sign: botocore with rsa, because the package rsa is not installed")
    else:
        pure_key = pure.PrivateKey.load_pkcs1(_pkcs1(private))
        found["botocore with rsa, as AWS documents it"] = by_botocore(
            lambda data: pure.sign(data, pure_key, "SHA-1"), 10
        )
    if (PARTS / "node" / "node_modules" / "@aws-sdk" / "cloudfront-signer").exists():
        path = plan.folder / "private.pem"
        path.write_bytes(private_pem)
        found["@aws-sdk/cloudfront-signer"] = lambda _: by_node(path, count)
    else:
        outcome.left_out.append("sign: @aws-sdk/cloudfront-signer, because it is not installed")
    return found


def _untyped(module: str) -> Any:
    return importlib.import_module(module)


def _pkcs1(private: RSAPrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def by_node(private: Path, count: int) -> Sample:
    """Time the signer for JavaScript inside its own process, after a few calls to warm it up."""
    command = ["node", str(NODE_SCRIPT), str(PARTS / "node"), str(private), URL, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_WITHIN_S)
    return {"us": float(json.loads(done.stdout))}
