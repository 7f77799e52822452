"""One connection to Redis or Valkey that is made when needed, thrown away after any fault, and never waited for long.

The only module that knows redis-py (it saves us the wire protocol, TLS, authentication and Sentinel). Of it the
connection alone is used: its client would repeat a write by itself after a lost answer, and holds a pool that we do not
need. Where Sentinels are, the master is asked for with every new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from redis.asyncio import sentinel
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from oncegate.ledgers.protocol import LedgerExchanged, LedgerUnfit, Unknown, UnknownKind
from oncegate.ledgers.redis.address import RedisAddress

CONNECT_WITHIN_S = 2.0
CALL_WITHIN_S = 3.0
"""With the time to connect, and under ``batching.ANSWER_WITHIN_S``: the next batch then still has a second."""
IDLE_MAX_S = 240.0
"""Firewalls drop connections that were silent for five minutes and more, and tell nobody."""
AGAIN_AFTER_S = 0.2

Command = Sequence[bytes | str | int]
Reply = bytes | int | None | list["Reply"]


class LedgerFault(Exception):
    """Redis did not answer as it should; a write may or may not have happened. The message is for the log.

    Attributes:
        unfit: what the ledger is unfit for, where that was seen on a new connection.
        kind: as of the ``Unknown`` that the callers are told.
    """

    def __init__(self, words: str, *, unfit: LedgerUnfit | None = None, kind: UnknownKind = "lost") -> None:
        super().__init__(words)
        self.unfit = unfit
        self.kind: UnknownKind = "exchanged" if isinstance(unfit, LedgerExchanged) else kind

    @property
    def outcome(self) -> Unknown:
        """The outcome of every call that met this fault."""
        return Unknown(str(self), self.kind)


@dataclass(frozen=True, slots=True)
class SaidNo:
    """An answer that is an error: ``NOSCRIPT No matching script``."""

    words: str

    @property
    def code(self) -> str:
        """The first word."""
        return self.words.partition(" ")[0]


class _Driver(Protocol):
    """What is used of redis.asyncio.connection.Connection."""

    async def connect(self) -> None: ...
    async def disconnect(self, *, nowait: bool) -> None: ...
    async def send_packed_command(self, command: list[bytes], *, check_health: bool) -> None: ...
    async def read_response(self, *, disable_decoding: bool) -> Reply: ...


Call = Callable[[Sequence[Command]], Awaitable[Sequence[Reply | SaidNo]]]
Greet = Callable[[Call], Awaitable[None]]


class RedisConnection:
    """A connection for one kind of call; calls wait for each other.

    Args:
        address: of the server.
        greet: asks each new connection before anybody else does, and raises where it must not be used.
    """

    def __init__(self, address: RedisAddress, *, greet: Greet | None = None) -> None:
        self._address = address
        self._greet = greet
        self._driver: _Driver | None = None
        self._turn = asyncio.Lock()
        self._used_s = 0.0
        self._not_before_s = 0.0

    async def call(self, commands: Sequence[Command]) -> Sequence[Reply | SaidNo]:
        """Send commands together, and return the answer to each. They are no transaction.

        Raises:
            LedgerFault: not all were answered, or the connection may not be used.
        """
        loop = asyncio.get_running_loop()
        late_s = loop.time() + CALL_WITHIN_S
        try:
            async with asyncio.timeout_at(late_s):
                await self._turn.acquire()
        except TimeoutError:
            raise LedgerFault("those who asked before are not answered yet") from None
        try:
            async with asyncio.timeout_at(late_s):
                driver = await self._connected()
                replies = await _exchange(driver, commands)
        except BaseException as fault:
            await self._drop()
            if isinstance(fault, Exception):
                # Every error of the driver becomes ours here: an unknown outcome must never be taken for "free".
                raise _as_ours(fault) from fault
            raise
        finally:
            self._turn.release()
        self._used_s = loop.time()
        return replies

    async def drop(self) -> None:
        """Begin anew with the next call: this server may have become a replica."""
        async with self._turn:
            await self._drop()

    async def aclose(self) -> None:
        """Close it."""
        async with self._turn:
            driver, self._driver = self._driver, None
            if driver is not None:
                with contextlib.suppress(RedisError, OSError):
                    await driver.disconnect(nowait=False)

    async def _connected(self) -> _Driver:
        loop = asyncio.get_running_loop()
        if self._driver is not None and loop.time() - self._used_s > IDLE_MAX_S:
            await self._drop()
        if self._driver is None:
            await asyncio.sleep(self._not_before_s - loop.time())
            self._not_before_s = loop.time() + AGAIN_AFTER_S  # a server that refuses is asked again only after a pause
            async with asyncio.timeout(CONNECT_WITHIN_S):
                host, port = await _find_master(self._address)
                driver = self._driver = _make(self._address, host, port)
                await driver.connect()
            if self._greet is not None:
                await self._greet(lambda commands: _exchange(driver, commands))
            self._not_before_s = 0.0
        return self._driver

    async def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with contextlib.suppress(RedisError, OSError):
                await driver.disconnect(nowait=True)


async def _exchange(driver: _Driver, commands: Sequence[Command]) -> Sequence[Reply | SaidNo]:
    await driver.send_packed_command([_packed(commands)], check_health=False)
    replies: list[Reply | SaidNo] = []
    for _ in commands:
        try:
            replies.append(await driver.read_response(disable_decoding=True))
        except ResponseError as refusal:
            replies.append(SaidNo(_words(refusal)))
    return replies


def _packed(commands: Sequence[Command]) -> bytes:
    """Return commands as they are sent; the driver's own way takes three times as long for hundreds of arguments."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def _make(address: RedisAddress, host: str, port: int) -> _Driver:
    options: dict[str, object] = {
        "host": host,
        "port": port,
        "db": address.database,
        "username": address.username or None,
        "password": address.password or None,
        "socket_timeout": None,  # the time-out is around the whole call
        "socket_connect_timeout": CONNECT_WITHIN_S,
        "socket_keepalive": True,
        "protocol": 2,  # Redis 6.2 and all that came after it
    }
    kind = cast("Callable[..., _Driver]", SSLConnection if address.is_tls else Connection)
    return kind(**options, **address.tls_files)


async def _find_master(address: RedisAddress) -> tuple[str, int]:
    if not address.service:
        return address.hosts[0]
    options: dict[str, object] = {
        "username": address.sentinel_username or None,
        "password": address.sentinel_password or None,
        # A Sentinel that hangs must leave time for the others; and by default the client asks each one three times more.
        "socket_timeout": CONNECT_WITHIN_S / (len(address.hosts) + 1),
        "socket_connect_timeout": CONNECT_WITHIN_S / (len(address.hosts) + 1),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if address.is_tls:
        options |= {"ssl": True, **address.tls_files}
    watchers = sentinel.Sentinel(list(address.hosts), sentinel_kwargs=options)
    try:
        found = cast("Awaitable[tuple[str, int]]", watchers.discover_master(address.service))
        return await found
    finally:
        for watcher in watchers.sentinels:
            await watcher.aclose()


def _as_ours(fault: Exception) -> LedgerFault:
    if isinstance(fault, LedgerFault):
        return fault
    if isinstance(fault, LedgerUnfit):
        return LedgerFault(str(fault), unfit=fault)
    return LedgerFault(_words(fault))


def _words(fault: Exception) -> str:
    """Say what went wrong: the driver's words name hosts and keys, never a password or a record."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, sentinel.MasterNotFoundError):
        return f"{type(fault).__name__}: {str(fault).partition(' : ')[0]}"  # the rest shows the driver's internals
    if isinstance(fault, ResponseError):
        words = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        # The driver strips the code of those errors that it has a class for.
        code = {"NoScriptError": "NOSCRIPT", "ReadOnlyError": "READONLY", "NoPermissionError": "NOPERM"}
        name = code.get(type(fault).__name__)
        return f"{name} {words}" if name and not words.startswith(name) else words
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
