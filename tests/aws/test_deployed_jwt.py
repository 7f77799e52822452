"""The API behind the authorizer of JWTs: an issuer on loopback, whose tokens the emulator verifies."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.aws.conftest import PARTS

from oncegate.aws.deploying.cloud import Cloud
from oncegate.aws.referee.deployed import serve_deployed
from oncegate.keys.pem import new_key_pair
from oncegate.testing.servers.aws import AwsEmulator

NAME, REGION, BUCKET, AUDIENCE = "withjwt", "eu-central-1", "withjwt-objects", "links"
CALLS = [
    ("POST", "/v1/links", {"key": "a.txt"}, "links:write", 201),
    ("GET", "/v1/links", None, "links:read", 200),
    ("GET", "/v1/objects", None, "objects:read", 200),
    ("GET", "/v1/events", None, "events:read", 501),
    ("GET", "/get-url?key=a.txt", None, "links:write", 200),
    ("GET", "/v1/s3objects", None, "objects:read", 200),
]


def encoded(data: bytes) -> str:
    """As a JWT has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens, and answers where its key is."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Be silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def document(self, path: str) -> Mapping[str, Any]:
        """What it answers."""
        if path.endswith("openid-configuration"):
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        numbers = self.key.public_key().public_numbers()
        n, e = (encoded(each.to_bytes((each.bit_length() + 7) // 8, "big")) for each in (numbers.n, numbers.e))
        return {"keys": [{"kid": "1", "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e}]}

    def token(self, scope: str, **claims: Any) -> str:
        """A token for our audience."""
        now_s = int(time.time())
        whole = {"iss": self.url, "sub": "ada", "aud": AUDIENCE, "exp": now_s + 600, "scope": scope, **claims}
        signed = f"{encoded(json.dumps({'alg': 'RS256', 'kid': '1'}).encode())}.{encoded(json.dumps(whole).encode())}"
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """The issuer."""
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def oncegate(*arguments: str) -> str:
    """Run the command."""
    done = subprocess.run(
        [sys.executable, "-m", "oncegate", *arguments],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:{PARTS / 'uv' / 'bin'}"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(aws: AwsEmulator, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that signs by a key of RSA in Secrets Manager."""
    folder = tmp_path_factory.mktemp(NAME)
    private, public = new_key_pair("rsa")
    secrets: Any = boto3.client("secretsmanager", region_name=REGION)
    arn = secrets.create_secret(Name=f"{NAME}-key", SecretString=private.decode())["ARN"]
    (folder / "public.pem").write_bytes(public)
    bundle = folder / "api.zip"
    oncegate("aws", "bundle", str(bundle), "--python", f"{sys.version_info[0]}.{sys.version_info[1]}")
    oncegate(
        *("aws", "deploy", NAME, "--home", REGION, "--bucket", BUCKET, "--yes", "--folder-here", str(folder)),
        *("--signing", "own", "--signing-key", f"secretsmanager:{arn}", "--public-key", str(folder / "public.pem")),
        *("--api", f"jwt:{issuer.url},{AUDIENCE}", "--bundle", str(bundle)),
    )
    s3: Any = boto3.client("s3", region_name=REGION)
    s3.put_object(Bucket=BUCKET, Key="a.txt", Body=b"the object")
    return folder


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> str:
    """Host of the API."""
    return urlsplit(json.loads(oncegate("aws", "outputs", NAME))["ApiEndpoint"]).netloc


def ask(aws: AwsEmulator, endpoint: str, method: str, target: str, body: Any, token: str) -> tuple[int, bytes]:
    """Make a call; no token where it is empty."""
    place = urlsplit(aws.url)
    headers = {"Host": endpoint, "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
    try:
        connection.request(method, target, body=None if body is None else json.dumps(body), headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(("method", "target", "body", "scope", "status"), CALLS)
def test_the_claim_opens_the_calls_of_its_scope(
    aws: AwsEmulator, issuer: Issuer, endpoint: str, method: str, target: str, body: Any, scope: str, status: int
) -> None:
    """One token per scope; without it, with all others, and without a token."""
    assert ask(aws, endpoint, method, target, body, issuer.token(f"openid {scope}"))[0] == status
    others = " ".join({each for _, _, _, each, _ in CALLS} - {scope})
    assert ask(aws, endpoint, method, target, body, issuer.token(others))[0] == 403
    assert ask(aws, endpoint, method, target, body, issuer.token(""))[0] == 403
    assert ask(aws, endpoint, method, target, body, "")[0] == 401


def test_tokens_for_others_open_nothing(aws: AwsEmulator, issuer: Issuer, endpoint: str) -> None:
    """Of another issuer, for another audience, expired, signed by somebody else."""
    other = Issuer()
    wrong = [
        issuer.token("*", aud="others"),
        issuer.token("*", exp=int(time.time()) - 1),
        issuer.token("*", iss="https://other.example"),
        other.token("*", iss=issuer.url),
    ]
    other.server.shutdown()
    other.server.server_close()
    for token in wrong:
        assert ask(aws, endpoint, "GET", "/v1/objects", None, token)[0] == 401
    assert ask(aws, endpoint, "GET", "/v1/objects", None, issuer.token("*"))[0] == 200


def test_its_links_open_once(aws: AwsEmulator, issuer: Issuer, endpoint: str, folder: Path) -> None:
    """By a key of RSA in a secret, which the distribution was told to trust."""
    status, body = ask(aws, endpoint, "POST", "/v1/links", {"key": "a.txt"}, issuer.token("links:write"))
    assert status == 201, body
    served = serve_deployed(Cloud(), NAME)
    try:
        url = json.loads(body)["url"]
        assert served.get(url).body == b"the object"
        assert served.get(url).status == 403
    finally:
        served.close()
