"""What the tests of links/ share: a door with keys, and the simulations.

The simulations are modules beside their tests; pytest's importlib mode puts no folder on the path, so they come as
fixtures.
"""

from __future__ import annotations

import base64
import importlib.util
import pathlib
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from oncegate.keys.pem import load_public_key, load_signing_key, new_key_pair
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Grant, Operation
from oncegate.links.issue import S3Issuer
from oncegate.links.key_group import KeyGroup, SigningKey
from oncegate.links.link_id import uuid7
from oncegate.links.policy import Policy, custom_policy
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.sigv4 import S3Trust, presign_url
from oncegate.links.ticket import Ticket
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, verify


def _module(name: str, path: pathlib.Path | None = None) -> ModuleType:
    if name not in sys.modules:
        path = path or pathlib.Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before it runs: dataclasses look there
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def downloads() -> ModuleType:
    """The simulated world, and downloads in it."""
    _module("simulated_network")
    return _module("use_simulation")


@pytest.fixture(scope="session")
def uploads(downloads: ModuleType) -> ModuleType:
    """Uploads in the simulated world."""
    assert downloads
    return _module("upload_simulation")


NOW_S = 1_767_290_400
NONCE = uuid7(NOW_S * 1000, bytes(range(10)))
ORIGIN = "https://files.example.com"


class Door:
    """A viewer with keys, and an issuer beside it: makes links, turns URLs into requests, verifies them.

    Attributes:
        trust: of the viewer: two keys (``KEC``, ``KRSA``), one S3 credential (``AKID``), and no bucket.
    """

    now_s, nonce, origin = NOW_S, NONCE, ORIGIN

    def __init__(self) -> None:
        pairs = {"KEC": new_key_pair("ecdsa"), "KRSA": new_key_pair("rsa")}
        self.signing = {key_id: load_signing_key(private).named(key_id) for key_id, (private, _) in pairs.items()}
        self.public = {key_id: load_public_key(public) for key_id, (_, public) in pairs.items()}
        self.s3 = S3Issuer(access_key_id="AKID", secret="a secret", region="eu-central-1")
        self.trust = Trust(
            keys=KeyGroup(self.public), s3=S3Trust(credentials={"AKID": "a secret"}, region="eu-central-1")
        )

    @property
    def key(self) -> SigningKey:
        """The key of new links."""
        return self.signing["KEC"]

    def once(self, operation: Operation = Operation.GET, *, uses: int = 1, home: str = "") -> str:
        """``once=`` and a ticket."""
        return f"once={Ticket(operation=operation, uses=uses, nonce=NONCE, home=home)}"

    def canned(
        self, target: str, *, key_id: str = "KEC", expires_s: int = NOW_S + 60, hash_name: str = "SHA256"
    ) -> str:
        """A canned policy over the origin and this path and query."""
        return sign_url(ORIGIN + target, key=self.signing[key_id], expires_s=expires_s, hash_name=hash_name)

    def custom(self, target: str, *, resource: str | None = None, **conditions: object) -> str:
        """A request for ``target`` under a custom policy for ``resource``; ``conditions`` are of ``Policy``."""
        return (
            f"{ORIGIN}{target}{'&' if '?' in target else '?'}{self.policy(resource or ORIGIN + target, **conditions)}"
        )

    def policy(self, resource: str | None, *, text: bytes | None = None, **conditions: object) -> str:
        """CloudFront's own parameters for a policy, or for any text in place of one."""
        values: dict[str, object] = {"expires_s": NOW_S + 60, **conditions}
        signed = custom_policy(Policy(resource=resource, **values)) if text is None else text
        return f"Policy={self.encode(signed)}&Signature={self.encode(self.key.sign(signed, 'SHA256'))}{KEY}"

    def encode(self, data: bytes) -> str:
        """CloudFront's base64."""
        return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))

    def presigned(self, target: str, *, method: str = "GET", expires_in_s: int = 60) -> str:
        """An S3 presigned URL."""
        return presign_url(
            ORIGIN + target,
            method=method,
            access_key_id=self.s3.access_key_id,
            secret=self.s3.secret,
            region=self.s3.region,
            now_s=NOW_S,
            expires_in_s=expires_in_s,
        )

    def request(
        self, url: str, *, method: str = "GET", address: str = "203.0.113.178", **headers: str
    ) -> ViewerRequest:
        """The request that a client makes of a URL, from a proven address."""
        parts = parse_url(url)
        return ViewerRequest(
            method=method,
            scheme=parts.scheme,
            host=parts.host,
            path=parts.path,
            query=parts.query,
            headers=tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
            address=address,
            address_is_proof=True,
        )

    def open(self, url: str, *, now_s: int = NOW_S, method: str = "GET", **changes: object) -> Grant:
        """Verify a URL; ``changes`` are of ``Trust``."""
        return verify(self.request(url, method=method), replace(self.trust, **changes), now_s=now_s)

    def why(self, url: str, *, now_s: int = NOW_S, method: str = "GET", **changes: object) -> Reason | None:
        """Why a URL is refused; None where it is not."""
        try:
            self.open(url, now_s=now_s, method=method, **changes)
        except Refused as refused:
            return refused.reason
        return None


KEY = "&Key-Pair-Id=KEC&Hash-Algorithm=SHA256"


@pytest.fixture(scope="session")
def door() -> Door:
    """Loading keys takes longer than the tests."""
    return Door()


@pytest.fixture(scope="session")
def vectors() -> ModuleType:
    """The module that runs the vectors: what it says of a request is said once."""
    return _module("test_vectors", pathlib.Path(__file__).parent.parent / "test_vectors.py")
