"""The control application as a whole."""

from __future__ import annotations

from collections.abc import Callable

import httpx


def test_it_is_alive_without_a_token(talk: Callable[..., None]) -> None:
    """Whoever restarts processes has no token."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    talk(calls)
