"""Errors: problems all of them, within limits, and no word of the inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from control_world import World, change

from oncegate.control import envelope as listener
from oncegate.server.limits import HEAD_MAX_BYTES

Talk = Callable[..., None]


def _is_problem(answer: httpx.Response, status: int) -> bool:
    body = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and answer.headers["cache-control"] == "no-store"
        and body["status"] == status
        and {"type", "title", "detail"} <= body.keys()
    )


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/links/", "/docs/", "/redoc", "/v1/linksx", "/%00", "/favicon.ico"])
def test_an_unknown_route_is_a_problem(talk: Talk, path: str) -> None:
    """And no page that loads a script from elsewhere."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert _is_problem(await client.get(path), 404)

    talk(calls)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/links", "GET, POST"),
        ("PATCH", "/v1/links/AZtHgdIAcACAAAAAAAAAAA", "DELETE, GET"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("HEAD", "/url", "GET"),
    ],
)
def test_another_method_is_a_problem_that_names_the_right_ones(
    talk: Talk, method: str, path: str, allowed: str
) -> None:
    """All methods of the path, which the framework keeps in several routes. F1.17: HEAD /url makes no link."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)

    talk(calls)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"key":"\\ud800"}', b"[" * 30_000, b'{"key": NaN}']
)
def test_a_body_that_is_no_order_is_a_problem(talk: Talk, body: bytes) -> None:
    """No JSON, another kind of JSON, no UTF-8, a lone surrogate, nested beyond reason."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert _is_problem(answer, answer.status_code)

    talk(calls)


def test_another_type_of_body_is_a_problem(talk: Talk) -> None:
    """A form of another site cannot send JSON."""

    async def calls(client: httpx.AsyncClient) -> None:
        for headers in ({"Content-Type": "text/plain"}, {}):
            answer = await client.post("/v1/links", content=b'{"key":"a"}', headers=headers)
            assert _is_problem(answer, 422)
            assert answer.json()["detail"] == "Say what the body is: send Content-Type: application/json."

    talk(calls)


@pytest.mark.parametrize(("size", "status"), [(listener.BODY_MAX_BYTES, 422), (listener.BODY_MAX_BYTES + 1, 413)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_has_a_limit(talk: Talk, size: int, status: int, is_chunked: bool) -> None:
    """Both sides of it, said beforehand or not."""
    body = b'{"key":"' + b"x" * (size - 10) + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    async def calls(client: httpx.AsyncClient) -> None:
        content: Any = chunks() if is_chunked else body
        answer = await client.post("/v1/links", content=content, headers={"Content-Type": "application/json"})
        assert _is_problem(answer, status)

    talk(calls)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30])
def test_a_length_that_is_none_is_a_problem(talk: Talk, length: str) -> None:
    """Whatever the server lets through."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", content=b"{}", headers={"Content-Length": length})
        assert _is_problem(answer, 413)

    talk(calls)


def test_headers_have_a_limit(talk: Talk) -> None:
    """Within it a request is answered."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert _is_problem(await client.get("/healthz", headers={"X": "x" * HEAD_MAX_BYTES}), 431)
        assert (await client.get("/healthz", headers={"X": "x" * 30_000})).status_code == 200

    talk(calls)


@pytest.mark.parametrize("talk", ["listener"], indirect=True)  # API Gateway brings whole bodies
def test_a_body_that_never_comes_is_a_problem(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent callers must not hold requests for ever."""
    monkeypatch.setattr(listener, "BODY_MAX_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b'{"key":'
        await asyncio.Event().wait()

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", content=never(), headers={"Content-Type": "application/json"})
        assert _is_problem(answer, 408)

    talk(calls)


def test_an_answer_that_never_comes_is_a_problem(world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs."""
    monkeypatch.setattr(listener, "ANSWER_MAX_S", 0.01)

    async def hang(*_: object) -> Any:
        await asyncio.Event().wait()

    world.store.list_objects = hang  # type: ignore[method-assign]

    async def calls(client: httpx.AsyncClient) -> None:
        assert _is_problem(await client.get("/v1/objects"), 503)

    talk(calls)


class _BrokenStore:
    async def list_objects(self, *_: object) -> Any:
        raise RuntimeError("postgresql://user:hunter2@db/secret")


def test_a_fault_is_a_problem_without_its_words(world: World, talk: Talk) -> None:
    """The log has the place of the fault under the request id, and not its text either: drivers quote passwords."""
    change(world, store=_BrokenStore())
    ids: list[str] = []

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/objects")
        assert _is_problem(answer, 500)
        assert "hunter2" not in answer.text
        ids.append(answer.headers["x-request-id"])

    talk(calls)
    fault, request = world.log()
    assert "hunter2" not in str(world.log())
    assert fault["what"].startswith("RuntimeError at test_problems.py:")
    assert (fault["request_id"], request["request_id"], request["status"]) == (ids[0], ids[0], 500)


def test_a_token_is_in_no_answer_and_no_line(world: World, talk: Talk) -> None:
    """Not even when it is sent where it does not belong."""
    tokens: list[str] = []

    async def calls(client: httpx.AsyncClient) -> None:
        token = client.headers["Authorization"].partition(" ")[2]
        tokens.append(token)
        for answer in (
            await client.get("/v1/objects", params={"limit": token}),
            await client.get(f"/v1/links/{token}"),
            await client.get(f"/{token}"),
            await client.post("/v1/explain", json={"url": token}),
            await client.post("/v1/links", json={"key": "a", "uses": token, "expires_at": token}),
            await client.post("/v1/links", json={"key": "a"}, headers={"Idempotency-Key": token}),
        ):
            assert token not in answer.text + str(answer.headers)

    talk(calls)
    assert tokens[0] not in str(world.log()) + str(world.events)


def test_no_other_site_may_read_answers(talk: Talk) -> None:
    """No CORS: F3.4 allowed any origin with credentials."""

    async def calls(client: httpx.AsyncClient) -> None:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for answer in (
            await client.options("/v1/links", headers=headers),
            await client.get("/v1/links", headers=headers),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]

    talk(calls)


@pytest.mark.parametrize(
    "body",
    [
        b'{"key":"a","key":"b"}',
        b'{"key":"a","uses":1,"uses":1}',
        b'{"key":"a","\\u006bey":"b"}',
    ],
)
def test_a_member_that_is_given_twice_is_refused(talk: Talk, body: bytes) -> None:
    """Readers differ in which of the two they take: the link would be for another object than a proxy let through."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert "a member is given twice" in answer.text

    talk(calls)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_body_is_utf_8(talk: Talk, encoding: str) -> None:
    """RFC 8259 8.1; Python's reader guesses others."""

    async def calls(client: httpx.AsyncClient) -> None:
        body = '{"key":"a"}'.encode(encoding)
        answer = await client.post("/v1/links", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "not JSON" in answer.text) == (422, True)

    talk(calls)


def test_not_every_fault_of_a_body_is_listed(talk: Talk) -> None:
    """A body of 64 KiB can hold thousands of unknown members; the answer must not be larger than it."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a"} | {f"x{number}": 1 for number in range(3_000)})
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == 20

    talk(calls)
