"""The joined file, loaded as Lambda loads it, and events as CloudFront documents them.

    world = EdgeWorld(dynamodb_url, patch)
    passed = world.view(world.link("a.txt"))      # the request that goes to the bucket, or an answer
    world.bucket(passed, 404)                     # what the viewer then gets

Source: CloudFront Developer Guide, "Lambda@Edge event structure".
"""

from __future__ import annotations

import json
import pathlib
import re
import secrets
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from oncegate.keys.pem import load_signing_key, new_key_pair
from oncegate.ledgers.dynamodb.items import key_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text
from oncegate.uses.record import Record, from_json

JOINED = pathlib.Path(__file__).parents[2] / "src" / "oncegate" / "aws" / "generated" / "edge.py"
HOST = "d111111abcdef8.cloudfront.net"
VIEWER = "203.0.113.178"
TABLE = "acme"
CLAIM_KEY = "a-key-that-is-drawn-at-deploy-and-told-to-nobody"
PROGRAM = {"user-agent": "curl/8.5.0", "accept": "*/*"}
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-site": "none",
}
SIGNING = load_signing_key(new_key_pair("ecdsa")[0]).named("K2BRNGTUWVWIWT")
_NONCE = re.compile(r"once=[gp]\d*\.([A-Za-z0-9_-]{22})")

Event = dict[str, Any]


def whole_text(**changes: object) -> str:
    """The function as it is deployed: a configuration in front of the joined file."""
    configuration = {
        "table": TABLE,
        "homes": {"": "us-east-1"},
        "confirm": "auto",
        "plain_links": "refuse",
        "claim_key": CLAIM_KEY,
        **changes,
    }
    return f"CONFIGURATION = {json.dumps(configuration)!r}\n{JOINED.read_text()}"


def load_function(**changes: object) -> ModuleType:
    """An instance of the function; each has its own memory and connections."""
    module = ModuleType(f"index_{secrets.token_hex(4)}")
    exec(compile(whole_text(**changes), "index.py", "exec"), module.__dict__)
    return module


def link(key: str, *, put: bool = False, uses: int = 1, home: str = "", limits: str = "", **signing: Any) -> str:
    """A signed URL of the distribution."""
    ticket = draw_ticket(Operation.PUT if put else Operation.GET, uses=uses, home=home)
    conditions = {"expires_s": int(time.time()) + 600, **signing}
    return sign_url(f"https://{HOST}/{key}?once={ticket}{limits}", key=SIGNING, **conditions)


def link_id_of(url: str) -> bytes:
    """The id of a link with a ticket."""
    found = _NONCE.search(url)
    assert found is not None
    return id_of_text(found[1])


def viewer_event(
    url: str,
    method: str = "GET",
    headers: Mapping[str, str] = PROGRAM,
    *,
    address: str = VIEWER,
    request_id: str = "",
) -> Event:
    """An event of viewer request."""
    parts = urlsplit(url)
    given = {"host": parts.netloc, **headers}
    request = {
        "clientIp": address,
        "headers": {name: [{"key": name.title(), "value": value}] for name, value in given.items()},
        "method": method,
        "querystring": parts.query,
        "uri": parts.path,
    }
    return _event("viewer-request", request_id or secrets.token_urlsafe(40), request=request)


def origin_event(passed: Event, status: int, headers: Mapping[str, str] | None = None, request_id: str = "") -> Event:
    """An event of origin response: the request as it was passed on, and what the bucket said."""
    given = {"content-type": "application/xml", "server": "AmazonS3", "transfer-encoding": "chunked", **(headers or {})}
    request = {**passed, "origin": {"s3": {"domainName": "acme-objects.s3.us-east-1.amazonaws.com", "path": ""}}}
    response = {
        "status": str(status),
        "statusDescription": "x",
        "headers": {name: [{"key": name.title(), "value": value}] for name, value in given.items()},
    }
    return _event("origin-response", request_id or secrets.token_urlsafe(40), request=request, response=response)


def _event(event_type: str, request_id: str, **members: Event) -> Event:
    config = {
        "distributionDomainName": HOST,
        "distributionId": "EDFDVBD6EXAMPLE",
        "eventType": event_type,
        "requestId": request_id,
    }
    return {"Records": [{"cf": {"config": config, **members}}]}


def is_passed_on(found: Event) -> bool:
    """Whether an answer to viewer request is a request for the bucket."""
    return "status" not in found


def header(found: Event, name: str) -> str | None:
    """A header of what the function returned."""
    lines = found["headers"].get(name)
    return None if lines is None else lines[0]["value"]


class EdgeWorld:
    """One deployed function over one server.

    Attributes:
        function: the instance that answers unless another is named.
    """

    def __init__(self, dynamodb: str, patch: pytest.MonkeyPatch, **changes: object) -> None:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
        self._changes = changes
        self._instances: list[ModuleType] = []
        self.function = self.instance()

    def instance(self) -> ModuleType:
        """Another instance of the same function."""
        self._instances.append(load_function(**self._changes))
        return self._instances[-1]

    def close(self) -> None:
        """Let go of every connection."""
        for instance in self._instances:
            for home in instance._homes.values():
                home._connection.close()

    def view(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] = PROGRAM,
        *,
        by: ModuleType | None = None,
        **more: Any,
    ) -> Event:
        """What viewer request answers."""
        event = viewer_event(url, method, headers, **more)
        answered: Event = (by or self.function).handler(event, None)
        return json.loads(json.dumps(answered))  # as Lambda carries it

    def bucket(self, passed: Event, status: int, **more: Any) -> Event:
        """What the viewer gets when the bucket answered so."""
        answered: Event = self.function.handler(origin_event(passed, status, **more), None)
        return json.loads(json.dumps(answered))


def record_in(
    items: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, str]]], url: str, table: str = TABLE
) -> Record | None:
    """What a table says of a link."""
    key = key_of(link_id_of(url))
    found = items.get((table, key["s"]["S"], key["id"]["S"]))
    return None if found is None else from_json(found["r"]["S"].encode())
