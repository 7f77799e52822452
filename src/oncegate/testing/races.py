"""Many callers of one link at once: all are connected before the first of them asks.

answers = await race(link, [gateway.viewer_url], callers=64)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence

from oncegate.links.urls import parse_url
from oncegate.testing.raw_http import target_of


async def race(
    link: str, at: Sequence[str], *, callers: int, tls: ssl.SSLContext | None = None
) -> list[tuple[int, bytes]]:
    """GET a link from many connections at the same moment.

    Args:
        link: as it is sent, byte for byte.
        at: URLs whose hosts and ports are connected to, in turns.
        callers: how many connections.
        tls: what they trust; None: they speak plain HTTP.

    Returns:
        Of each caller the status and the body, or what came of it.
    """
    host, ready, go = parse_url(link).host, asyncio.Semaphore(0), asyncio.Event()
    name = None if tls is None else host.partition(":")[0]

    async def call(url: str) -> tuple[int, bytes]:
        address, _, port = parse_url(url).host.rpartition(":")
        reader, writer = await asyncio.open_connection(address, int(port), ssl=tls, server_hostname=name)
        ready.release()
        await go.wait()
        writer.write(f"GET {target_of(link)} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return int(head.split()[1]), body

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call(at[number % len(at)])) for number in range(callers)]
        for _ in calls:
            await ready.acquire()
        go.set()
    return [call.result() for call in calls]
