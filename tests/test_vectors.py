"""Links with verdicts, as data: what other signers made and what AWS answers (tests/vectors/README.md).

``verify`` must agree with every verdict. It may refuse what AWS would let pass only where the request names no object
that oncegate serves (the root, a list, a part, a path with dot segments), or signs what it does not do (encryption): those refusals are named below, and there
``authenticate`` must still agree.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from oncegate.keys.pem import load_public_key
from oncegate.links.address import canonical_address
from oncegate.links.grant import Signed
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import plain_link_id
from oncegate.links.refusal import Reason, Refused, Style, xml_body
from oncegate.links.request import ViewerRequest
from oncegate.links.sigv4 import S3Trust
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, authenticate, verify

# Served by AWS, not by oncegate: no single whole object is named (docs/decisions/0003).
NARROWER = {Reason.OBJECT_KEY, Reason.S3_UNSUPPORTED, Reason.METHOD_NOT_GRANTED, Reason.NOT_IMPLEMENTED}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test id per vector."""
    if "vector" in metafunc.fixturenames:
        path = pathlib.Path(metafunc.config.getoption("--vectors"))
        document = json.loads(path.read_text())
        metafunc.parametrize("vector", document["vectors"], ids=[v["id"] for v in document["vectors"]])


@pytest.fixture(scope="session")
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The file of vectors, with its keys loaded."""
    return load_vectors(request.config)


def load_vectors(config: pytest.Config) -> dict[str, Any]:
    """Read the file that was chosen; other tests run its links too."""
    path = pathlib.Path(config.getoption("--vectors"))
    loaded: dict[str, Any] = json.loads(path.read_text())
    loaded["key_group"] = KeyGroup(
        {
            key_id: load_public_key((path.parent / entry["public_key_file"]).read_bytes())
            for key_id, entry in loaded["trusted_keys"].items()
        }
    )
    loaded["by_id"] = {v["id"]: v for v in loaded["vectors"]}
    return loaded


def request_of(vector: dict[str, Any]) -> ViewerRequest:
    """The request that the vector describes."""
    url = parse_url(vector["url"])
    headers = [(name.lower().encode(), str(value).encode()) for name, value in (vector.get("headers") or {}).items()]
    if vector.get("cookies"):
        headers.append((b"cookie", "; ".join(f"{k}={v}" for k, v in vector["cookies"].items()).encode()))
    return ViewerRequest(
        method=vector["method"],
        scheme=url.scheme,
        host=(vector.get("host") or url.host).lower(),
        path=url.path,
        query=url.query,
        headers=tuple(headers),
        address=canonical_address(vector["client_ip"]),
        address_is_proof=True,
    )


def trust_of(document: dict[str, Any], vector: dict[str, Any]) -> Trust:
    """Plain links are allowed, as the vectors carry no ticket; PUT as well, as their signers do."""
    s3 = S3Trust(credentials=document["s3_credentials"], region=vector.get("region") or "")
    return Trust(keys=document["key_group"], s3=s3, plain_links="allow", plain_put=("",))


def authenticate_vector(document: dict[str, Any], vector: dict[str, Any]) -> Signed:
    """What AWS would say."""
    return authenticate(request_of(vector), trust_of(document, vector), now_s=vector["now"])


def test_vector(document: dict[str, Any], vector: dict[str, Any]) -> None:
    """The verdict, its status, code, message and reason; and links that are one link have one id."""
    request, trust = request_of(vector), trust_of(document, vector)
    if vector["expected"] == "deny":
        with pytest.raises(Refused) as caught:
            verify(request, trust, now_s=vector["now"])
        refused = caught.value
        assert refused.row.status == vector["http_status"]
        assert refused.row.code == vector["error_code"]
        assert refused.message == vector["error_message"]
        assert refused.reason.value.removeprefix("s3-") == vector["reason"]
        style = Style.S3 if vector["category"].startswith("s3") else Style.CLOUDFRONT
        body = xml_body(refused, style=style, request_id="1")[1].decode()
        assert f"<Code>{vector['error_code']}</Code>" in body
        return
    signed = authenticate_vector(document, vector)
    if vector.get("same_link_as"):
        twin = authenticate_vector(document, document["by_id"][vector["same_link_as"]])
        assert plain_link_id(signed, "k") == plain_link_id(twin, "k")
    try:
        grant = verify(request, trust, now_s=vector["now"])
    except Refused as refused:
        assert refused.reason in NARROWER
        assert request.method not in {"GET", "PUT"} or refused.reason is not Reason.METHOD_NOT_GRANTED
    else:
        assert grant.link_id == plain_link_id(signed, grant.object_key)


def test_cloudfront_bodies_have_awss_lengths() -> None:
    """Two of the bodies were seen in the wild with their Content-Length; a stray newline would show here."""
    lengths = {
        reason: len(xml_body(Refused(reason), style=Style.CLOUDFRONT, request_id="")[1])
        for reason in (
            Reason.MISSING_KEY,
            Reason.UNKNOWN_KEY,
            Reason.BAD_SIGNATURE,
            Reason.MALFORMED_POLICY,
            Reason.MALFORMED_SIGNATURE,
        )
    }
    assert list(lengths.values()) == [146, 106, 110, 116, 131]
