"""A TCP proxy on loopback that does what networks do to a ledger: in a thread of its own, switched from outside.

    with FaultProxy(server.port) as proxy:
        proxy.fault = "lose_replies"

``pass_on``: nothing is wrong. ``lose_replies``: requests arrive and take effect; the connection breaks when the answer
comes. ``hold_requests``: what is sent is kept, and delivered by ``release``, even where the sender has gone away
meanwhile: a write that lands late. ``refuse``: connections are reset. ``black_hole``: nothing is delivered, nothing answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Literal, Self

Fault = Literal["pass_on", "lose_replies", "hold_requests", "refuse", "black_hole"]


class FaultProxy:
    """Stands before the server on a port of 127.0.0.1."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._released = asyncio.Event()
        self._fault: Fault = "pass_on"
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.lost_replies = 0
        self.held_requests = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    @property
    def fault(self) -> Fault:
        """What is wrong now, with connections that are open too."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault == "refuse":
            self.cut()

    def mend(self) -> None:
        """Pass on from now; what was lost stays lost."""
        self.fault = "pass_on"

    def cut(self) -> None:
        """Reset every connection that is open."""
        self._loop.call_soon_threadsafe(lambda: [_reset(writer) for writer in list(self._writers)])

    def release(self) -> None:
        """Deliver what was held, and pass on from now."""
        self._fault = "pass_on"
        self._loop.call_soon_threadsafe(self._released.set)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what they let go of is closed in the next turn

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            if self._fault == "refuse":
                return _reset(writer)
            if self._fault == "black_hole":
                await self._stop.wait()
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._writers.add(to_writer)
            try:
                await asyncio.gather(
                    self._forward_requests(reader, to_writer), self._forward_replies(to_reader, writer, to_writer)
                )
            finally:
                self._writers.discard(to_writer)
                to_writer.transport.abort()  # close() would wait for a frozen server to read the rest
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _forward_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._fault == "black_hole":
                await self._stop.wait()
            if self._fault == "hold_requests":
                self._released.clear()
                self.held_requests += 1
                await self._released.wait()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _forward_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            if self._fault == "lose_replies":
                self.lost_replies += 1
                _reset(writer)
                _reset(to_writer)
                return
            if self._fault == "black_hole":
                await self._stop.wait()
            with contextlib.suppress(OSError):  # who asked may be gone; what was held is delivered all the same
                writer.write(data)
                await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
