"""The URL of the ledger ``postgresql:``: what the driver reads, and what is ours. Nothing is opened here.

Ours are ``pgbouncer=1`` and ``schema=NAME``; everything else is a URL as libpq has it, several hosts included. A name that
neither knows is refused: misspelt, it would be a promise that nobody keeps. No message repeats the URL, which may
hold a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from oncegate.ledgers.protocol import LedgerUnfit

DEFAULT_SCHEMA = "public"

_OURS = frozenset({"pgbouncer", "schema"})
_DRIVERS = frozenset(
    {"host", "port", "user", "password", "passfile", "database", "dbname", "service", "servicefile", "krbsrvname"}
    | {"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation", "direct_tls"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlAddress:
    """Where the ledger is, and how to talk to what stands there.

    Attributes:
        dsn: for the driver; may hold a password.
        schema: of the tables; a plain identifier, so that it can stand in a statement.
        is_pooled: pgbouncer in transaction mode is in between: nothing may outlive a transaction there, neither a
            prepared statement nor a setting.
    """

    dsn: str = field(repr=False)
    schema: str = DEFAULT_SCHEMA
    is_pooled: bool = False


def parse_address(address: str) -> PostgresqlAddress:
    """Read what follows ``postgresql:``.

    Args:
        address: ``//user:password@host:port/database?option=value``; parts that are missing come from the environment
            (``PGHOST``, ``PGPASSWORD``, ``PGSSLMODE``) and the password file, as for every client of PostgreSQL.

    Raises:
        LedgerUnfit: it means nothing; the message does not repeat it.
    """
    if not address.startswith("//"):
        raise LedgerUnfit("[ledger] url: write postgresql://user@host:5432/database")
    if "#" in address:
        raise LedgerUnfit("[ledger] url: a # in a password or a name is written %23")
    base, _, query = address.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    if len({name for name, _ in options}) < len(options):
        raise LedgerUnfit("[ledger] url: postgresql: an option is given twice")
    for name, _ in options:
        if name not in _OURS | _DRIVERS:
            raise LedgerUnfit(f'[ledger] url: "{name}" is no option of postgresql:; ours are pgbouncer=1, schema=NAME')
    ours = {name: value for name, value in options if name in _OURS}
    pgbouncer, schema = ours.get("pgbouncer", "0"), ours.get("schema", DEFAULT_SCHEMA)
    if pgbouncer not in {"0", "1"}:
        raise LedgerUnfit("[ledger] url: write pgbouncer=1 or leave it out")
    if not _SCHEMA_NAME.fullmatch(schema):
        raise LedgerUnfit("[ledger] url: schema: a name of a-z, 0-9 and _, at most 63 characters")
    rest = urlencode([(name, value) for name, value in options if name not in _OURS])
    dsn = f"postgresql:{base}" + (f"?{rest}" if rest else "")
    return PostgresqlAddress(dsn=dsn, schema=schema, is_pooled=pgbouncer == "1")
