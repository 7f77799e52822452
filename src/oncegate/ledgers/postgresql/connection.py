"""One connection to PostgreSQL that is made when needed, thrown away after any fault, and never waited for long.

The only module that knows asyncpg (it saves us the wire protocol, TLS and authentication, and is 1.4 times as fast as
psycopg in batches). A statement that is given up is never cancelled at the server: asyncpg would open a second
connection to say so, and a server that hangs would hang that too. The connection is cut instead, and the server may
still carry out the statement, so its outcome is unknown.

Directly connected, settings go along with the start of the session, so every statement is one round trip. Through
pgbouncer in transaction mode they would be refused or given to somebody else, and even an unnamed prepared statement
may meet another server at its second message: there every call is a transaction of its own, four round trips.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  it ships none; _Driver says what is used of it

from oncegate.ledgers.postgresql.address import PostgresqlAddress
from oncegate.ledgers.protocol import LedgerExchanged, LedgerUnfit, Unknown, UnknownKind

CONNECT_WITHIN_S = 2.0
CALL_WITHIN_S = 3.0
"""With the time to connect, and under ``batching.ANSWER_WITHIN_S``: the next batch then still has a second."""
GIVES_UP_EARLIER_MS = 500
LOCK_MS = 2_500
IDLE_MAX_S = 240.0
"""Firewalls drop connections that were silent for five minutes and more, and tell nobody."""
AGAIN_AFTER_S = 0.2

Value = bytes | int | str | bool | float | None
Argument = Value | Sequence[bytes] | Sequence[int] | Sequence[str] | Sequence[str | None]
DriverRow = Mapping[str, Value]

# Force nested loops over the primary key, and one plan: a plan made in the first minute, when the table is empty, would
# read the whole table for every batch until the next ANALYZE. This also keeps the order of keys, hence of locks.
_PLANS = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}


_NOT_THERE = frozenset({"42P01", "3F000", "3D000"})
"""SQLSTATE of a table, a schema, a database that does not exist."""


class LedgerFault(Exception):
    """PostgreSQL did not answer as it should; a write may or may not have happened. The message is for the log.

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


class Fetch(Protocol):
    """Runs one statement on a connection that nobody else has yet."""

    async def __call__(self, statement: str, args: Sequence[Argument] = ()) -> Sequence[DriverRow]:
        """Run it and return its rows."""
        ...


Greet = Callable[[Fetch], Awaitable[None]]


class _Driver(Protocol):
    """What is used of asyncpg.Connection."""

    async def fetch(self, query: str, *args: Argument) -> Sequence[DriverRow]: ...
    async def execute(self, query: str) -> str: ...
    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109  it is theirs
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...


class PostgresqlConnection:
    """A connection for one kind of call; calls wait for each other.

    Args:
        address: of the server.
        greet: asks each new connection before anybody else does, and raises where it must not be used.
        call_within_s: seconds for one call, a new connection included; the server gives up a little earlier.
        lock_ms: milliseconds after which the server gives up a statement that waits for a lock.
    """

    def __init__(
        self,
        address: PostgresqlAddress,
        *,
        greet: Greet | None = None,
        call_within_s: float = CALL_WITHIN_S,
        lock_ms: int = LOCK_MS,
    ) -> None:
        self._address = address
        self._greet = greet
        self._call_within_s = call_within_s
        self._limits = {
            "statement_timeout": str(int(call_within_s * 1000) - GIVES_UP_EARLIER_MS),
            "lock_timeout": str(lock_ms),
            "idle_in_transaction_session_timeout": "10000",
        }
        self._driver: _Driver | None = None
        self._turn = asyncio.Lock()
        self._used_s = 0.0
        self._not_before_s = 0.0

    async def fetch(self, statement: str, args: Sequence[Argument] = ()) -> Sequence[DriverRow]:
        """Run one statement in a transaction of its own, and return its rows when it is committed.

        Raises:
            LedgerFault: no answer, a refusal, or a connection that may not be used.
        """
        loop = asyncio.get_running_loop()
        late_s = loop.time() + self._call_within_s
        async with self._own_turn(late_s):
            async with asyncio.timeout_at(late_s):
                driver = await self._connected()
            # Do not wrap this in asyncio.timeout: cancelling makes asyncpg open a second connection to send the cancel
            # request. The timer cuts the connection instead.
            fuse = loop.call_at(late_s, driver.terminate)
            try:
                rows = await self._in_transaction(driver, statement, args)
            finally:
                fuse.cancel()
            self._used_s = loop.time()
            return rows

    async def run_script(self, script: str) -> None:
        """Run statements without arguments, all in one transaction.

        Raises:
            LedgerFault: it failed, and nothing of it was done, or nobody knows.
        """
        late_s = asyncio.get_running_loop().time() + self._call_within_s
        async with self._own_turn(late_s), asyncio.timeout_at(late_s):
            driver = await self._connected()
            await driver.execute(script)  # several statements in one message are one transaction

    async def aclose(self) -> None:
        """Close the connection, in good order if the server answers within a second."""
        driver, self._driver = self._driver, None
        if driver is not None and not driver.is_closed():
            with contextlib.suppress(Exception):
                await driver.close(timeout=1.0)
            driver.terminate()

    @contextlib.asynccontextmanager
    async def _own_turn(self, late_s: float) -> AsyncGenerator[None]:
        """Wait for earlier calls; after any fault in the block the connection is thrown away."""
        try:
            async with asyncio.timeout_at(late_s):
                await self._turn.acquire()
        except TimeoutError:
            raise LedgerFault("those who asked before are not answered yet") from None
        try:
            yield
        except BaseException as fault:
            self._drop()
            if isinstance(fault, Exception):
                # Every error of the driver becomes ours here: an unknown outcome must never be taken for "free".
                raise _as_ours(fault) from fault
            raise
        finally:
            self._turn.release()

    async def _in_transaction(
        self, driver: _Driver, statement: str, args: Sequence[Argument] = ()
    ) -> Sequence[DriverRow]:
        if not self._address.is_pooled:
            return await driver.fetch(statement, *args)
        settings = {**_PLANS, **self._limits}
        await driver.execute("BEGIN; " + "".join(f"SET LOCAL {name} = {value}; " for name, value in settings.items()))
        rows = await driver.fetch(statement, *args)
        if await driver.execute("COMMIT") != "COMMIT":
            raise LedgerFault("the transaction was rolled back")
        return rows

    async def _connected(self) -> _Driver:
        loop = asyncio.get_running_loop()
        if self._driver is not None and (self._driver.is_closed() or loop.time() - self._used_s > IDLE_MAX_S):
            self._drop()
        if self._driver is None:
            await asyncio.sleep(self._not_before_s - loop.time())
            self._not_before_s = loop.time() + AGAIN_AFTER_S  # a server that refuses is asked again only after a pause
            self._driver = await self._connect()
            self._used_s = loop.time()
            if self._greet is not None:
                await self._greet(functools.partial(self._in_transaction, self._driver))
            self._not_before_s = 0.0
        return self._driver

    async def _connect(self) -> _Driver:
        settings = (
            {} if self._address.is_pooled else {**_PLANS, **self._limits, "plan_cache_mode": "force_generic_plan"}
        )
        async with asyncio.timeout(CONNECT_WITHIN_S):
            connect = cast("Callable[..., Awaitable[_Driver]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType]  untyped
            return await connect(
                self._address.dsn,
                timeout=CONNECT_WITHIN_S,
                statement_cache_size=0 if self._address.is_pooled else 32,
                target_session_attrs="read-write",
                server_settings={"application_name": self._address.application_name, **settings},
            )

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.terminate()


def _as_ours(fault: Exception) -> LedgerFault:
    """Say what went wrong: the driver's words name hosts, users and tables, never a password or a value."""
    if isinstance(fault, LedgerFault):
        return fault
    if isinstance(fault, LedgerUnfit):
        return LedgerFault(str(fault), unfit=fault)
    if isinstance(fault, TimeoutError):
        return LedgerFault("no answer in time")
    code: object = getattr(fault, "sqlstate", None)
    if code is None:
        return LedgerFault(f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__)
    # Only the first line: the others may show a row.
    words = f"{type(fault).__name__} {code}: {str(fault).splitlines()[0]}"
    return LedgerFault(words, kind="exchanged" if code in _NOT_THERE else "lost")
