"""The referee's own reading of signed URLs and cookies: AWS's verdicts, and that it is its own."""

from __future__ import annotations

import ast
import json
import pathlib
from typing import Any
from urllib.parse import urlsplit

import pytest

from oncegate.aws.referee import signatures
from oncegate.aws.referee.signatures import Asked, Forbidden, check
from oncegate.keys.pem import load_public_key

VECTORS = pathlib.Path(__file__).parents[1] / "vectors" / "vectors.json"
DOCUMENT = json.loads(VECTORS.read_text())
OF_CLOUDFRONT = [each for each in DOCUMENT["vectors"] if each["category"].startswith("cf-")]
KEYS = {
    key_id: load_public_key((VECTORS.parent / entry["public_key_file"]).read_bytes())
    for key_id, entry in DOCUMENT["trusted_keys"].items()
}


def asked_of(vector: dict[str, Any]) -> Asked:
    """The request that a vector describes; characters are bytes, as on the wire."""
    url = urlsplit(vector["url"])
    target = vector["url"].partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    host = (vector.get("host") or url.netloc).lower()
    return Asked(
        scheme=url.scheme,
        host=host.removesuffix(":443" if url.scheme == "https" else ":80"),
        path="/" + path.encode().decode("latin-1"),
        query=query.encode().decode("latin-1"),
        cookies=tuple((name, str(value)) for name, value in (vector.get("cookies") or {}).items()),
        address=vector["client_ip"],
    )


@pytest.mark.parametrize("vector", OF_CLOUDFRONT, ids=[each["id"] for each in OF_CLOUDFRONT])
def test_vector(vector: dict[str, Any]) -> None:
    """The same verdict, code and message as AWS's; else the referee lets pass what AWS refuses."""
    if vector["expected"] == "allow":
        check(asked_of(vector), KEYS, now_s=vector["now"])
        return
    with pytest.raises(Forbidden) as refused:
        check(asked_of(vector), KEYS, now_s=vector["now"])
    assert (refused.value.code, refused.value.message) == (vector["error_code"], vector["error_message"])


def test_a_referee_does_not_ask_whom_it_judges() -> None:
    """A mistake in links/ would be made twice, and no test would see it."""
    tree = ast.parse(pathlib.Path(signatures.__file__).read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if name.startswith("oncegate")]
