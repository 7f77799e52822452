"""The one file that knows granian: both listeners in one process and one loop.

What its embedded server (2.8) does, and what is done about it here: with HTTP detection a silent connection is never
closed, so HTTP/1.1 only; ``backpressure`` counts open connections and defaults to 128; two servers on one port both
start, so the port is bound first; it has no limit of its own for stopping. docs/decisions/0004.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from oncegate.server.limits import BACKLOG, CONNECTIONS_MAX, HEAD_MAX_BYTES, HEAD_WITHIN_S
from oncegate.settings.spellings import Address
from oncegate.unfit import Unfit


class PortTaken(Unfit):
    """The address cannot be listened on; the message says which."""


class Listener:
    """One address that is being served."""

    def __init__(self, app: Callable[..., Any], address: Address) -> None:
        """Take the address.

        Args:
            app: ASGI 3.
            address: host and port; port 0 picks a free one.

        Raises:
            PortTaken: somebody else listens there, or it is not ours to take.
        """
        self.address: Address = Address(address.host, _free_port(address))
        self._app = app
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve, and return once it answers."""
        self._server = Server(
            self._app,
            address=self.address.host,
            port=self.address.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            backlog=BACKLOG,
            backpressure=CONNECTIONS_MAX,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEAD_WITHIN_S * 1000, max_buffer_size=HEAD_MAX_BYTES, pipeline_flush=False
            ),
            websockets=False,
            # Its tracebacks may hold a URL; gateway/app.py writes one line per request itself.
            log_enabled=False,
        )
        self._task = asyncio.create_task(self._server.serve())
        await self._until_it_answers()

    async def _until_it_answers(self) -> None:
        while self._task is not None and not self._task.done():
            try:
                _, writer = await asyncio.open_connection(self.address.host, self.address.port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        if self._task is not None:
            await self._task
        raise PortTaken("the server did not start", where=str(self.address))

    async def stop(self, patience_s: float) -> bool:
        """Accept no new connections and let requests finish; return whether they did within that time."""
        if self._server is None or self._task is None:
            return True
        self._server.stop()
        done, _ = await asyncio.wait({self._task}, timeout=patience_s)
        return bool(done)


def _free_port(address: Address) -> int:
    """Bind the port and release it, so that a taken port is an error: granian itself would share it silently."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"{address} is taken", remedy="stop who listens there, or choose another port"
                ) from None
            raise PortTaken(f"{address} cannot be used: {error.strerror}") from None
        port: int = probe.getsockname()[1]
        return port
