"""A control API over a memory ledger and a store that is a dictionary, with a clock that the test turns."""

from __future__ import annotations

import base64
import bisect
import itertools
import json
import os
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httpx

from oncegate.control.admission import TokenCallers
from oncegate.control.app import control_app
from oncegate.control.parts import ControlParts, PartState
from oncegate.control.tokens import TokenFile
from oncegate.events import Journal
from oncegate.keys.pem import load_public_key, load_signing_key, new_key_pair
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.key_group import KeyGroup
from oncegate.links.sigv4 import S3Trust
from oncegate.links.verify import Trust
from oncegate.meters import Meters
from oncegate.service.payload import answer
from oncegate.settings.tables import LinksSettings, Settings, ViewerSettings
from oncegate.stores.protocol import ObjectInfo, OpenObject, Upload

NOW_S = 1_767_225_600  # 2026-01-01T00:00:00Z
BORN_MS = NOW_S * 1000 - 3_600_123
SECRET = "a-secret-of-s3-that-must-not-be-seen"


class Looked:
    """An object that was looked at; nobody here reads it."""

    def __init__(self, info: ObjectInfo) -> None:
        self.info = info

    def read(self, start: int, end: int, chunk_bytes: int) -> AsyncIterator[bytes]:
        """Nobody does."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


class DictStore:
    """Objects in a dictionary, listed in order; raises ``fault`` where one is set."""

    def __init__(self) -> None:
        self.objects: dict[str, ObjectInfo] = {}
        self.fault: Exception | None = None

    def put(self, key: str, size_bytes: int = 5) -> None:
        """Let an object stand there."""
        self.objects[key] = ObjectInfo(
            key=key, size_bytes=size_bytes, etag='"abc"', modified_s=NOW_S, content_type="text/plain"
        )

    async def look(self, key: str) -> OpenObject | None:
        """As a store does."""
        if self.fault:
            raise self.fault
        return Looked(self.objects[key]) if key in self.objects else None

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Nobody does."""
        raise NotImplementedError

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """As a store does: in order of the keys' bytes."""
        if self.fault:
            raise self.fault
        keys = sorted(self.objects, key=str.encode)
        start = bisect.bisect_right([key.encode() for key in keys], after.encode())
        found = (self.objects[key] for key in keys[start:] if key.startswith(prefix))
        return list(itertools.islice(found, limit))

    async def may_remove(self) -> bool:
        """It may not."""
        return False

    async def remove(self, key: str, etag: str) -> bool:
        """Nothing is removed here."""
        return False

    async def sweep(self, older_than_s: int) -> int:
        """Nothing is left."""
        return 0

    async def probe(self) -> None:
        """It is fit."""

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """The parts, and what a test turns and looks at."""

    parts: ControlParts
    ledger: MemoryLedger
    store: DictStore
    tokens: TokenFile
    lines: int
    now_s: float = NOW_S + 0.25
    states: list[PartState] = field(default_factory=lambda: [PartState(name="ledger", is_ready=True)])
    gauges: dict[str, float] = field(default_factory=dict)
    meters: Meters = field(default_factory=Meters)
    events: list[dict[str, Any]] = field(default_factory=list)

    def token(self, *scopes: str) -> str:
        """Draw a token."""
        return self.tokens.new("test", scopes or ("*",), now_s=NOW_S)[0]

    def log(self) -> list[dict[str, Any]]:
        """What was logged so far; the journal must be closed."""
        with open(self.lines, "rb", closefd=False) as file:
            file.seek(0)
            return [json.loads(line) for line in file.read().splitlines()]


def make_world(tmp_path: pathlib.Path) -> World:
    """Make the parts; keys are ECDSA and S3's."""
    private, public = new_key_pair("ecdsa")
    signer = load_signing_key(private).named("K1")
    s3 = S3Trust(credentials={"AKIDEXAMPLE": SECRET})
    trust = Trust(keys=KeyGroup({"K1": load_public_key(public)}), s3=s3, s3_bucket="bucket")
    ledger = MemoryLedger(born_ms=BORN_MS)
    store = DictStore()
    tokens = TokenFile(tmp_path / "tokens.json")
    lines = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    settings = Settings(
        viewer=ViewerSettings(public_url=("https://files.example.com",)),
        links=LinksSettings(s3_bucket="bucket"),
        s3_credentials={"AKIDEXAMPLE": SECRET},
        folder=tmp_path,
    )
    made: World

    async def keep(events: Sequence[Mapping[str, Any]]) -> None:
        made.events.extend(dict(event) for event in events)
        await ledger.append_events(made.events[-len(events) :])

    async def readiness() -> Sequence[PartState]:
        return made.states

    meters = Meters()
    parts = ControlParts(
        settings=settings,
        callers=TokenCallers(tokens),
        ledger=ledger,
        runner=LedgerRunner(ledger),
        born_ms=BORN_MS,
        store=store,
        trust=lambda: trust,
        signer=lambda: signer,
        journal=Journal(descriptor=lines, keep=keep, clock=lambda: made.now_s),
        readiness=readiness,
        meters=meters,
        gauges=lambda: made.gauges,
        clock_s=lambda: made.now_s,
        random_bytes=os.urandom,
    )
    made = World(parts=parts, ledger=ledger, store=store, tokens=tokens, lines=lines, meters=meters)
    return made


class FunctionTransport(httpx.AsyncBaseTransport):
    """Brings each request as an event of an HTTP API, as the function of a deployment gets it."""

    def __init__(self, app: Callable[..., Awaitable[None]], authorizer: Mapping[str, Any] | None = None) -> None:
        self._app = app
        self._authorizer = authorizer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make the event, and an answer of what comes back."""
        answered: Any = await answer(self._app, event_of(request, await request.aread(), self._authorizer))
        body = base64.b64decode(answered["body"]) if answered["isBase64Encoded"] else answered["body"].encode()
        return httpx.Response(answered["statusCode"], headers=answered["headers"], content=body, request=request)


def event_of(request: httpx.Request, body: bytes, authorizer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The event of payload format 2.0 that API Gateway would make of a request."""
    headers: dict[str, str] = {}
    for name, value in request.headers.multi_items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    http = {"method": request.method, "path": request.url.path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    return {
        "version": "2.0",
        "routeKey": f"{request.method} {request.url.path}",
        "rawPath": request.url.path,
        "rawQueryString": request.url.query.decode(),
        "headers": headers,
        "requestContext": {"domainName": request.url.host, "http": http, "authorizer": authorizer},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


Calls = Callable[[httpx.AsyncClient], Awaitable[None]]


def talker(world: World, *, is_function: bool = False) -> Callable[[Calls], None]:
    """Run a test's calls in one loop, with a token for everything; the journal is closed at the end."""

    def run(calls: Calls) -> None:
        async def main() -> None:
            app = control_app(world.parts)
            transport = (
                FunctionTransport(app) if is_function else httpx.ASGITransport(app=app, raise_app_exceptions=True)
            )
            headers = {"Authorization": f"Bearer {world.token()}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://control", headers=headers) as client:
                await calls(client)
            await world.parts.runner.drain()
            await world.parts.journal.aclose()

        anyio.run(main)

    return run


def change(world: World, **fields: Any) -> None:
    """Exchange some of the parts, before the first call."""
    world.parts = replace(world.parts, **fields)
