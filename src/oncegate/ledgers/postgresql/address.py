"""The URL of the ledger ``postgresql:``: what the driver reads, and what is ours. Nothing is opened here.

Ours are ``pgbouncer=1`` and ``schema=NAME``; everything else is a URL as libpq has it, several hosts included, but not
all that libpq knows: what the driver cannot do, or what the ledger decides itself, is refused by name. So is a name that
nobody knows: misspelt, it would be a promise that nobody keeps. No message repeats the URL, which may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from oncegate.ledgers.protocol import LedgerUnfit

DEFAULT_SCHEMA = "public"
DEFAULT_APPLICATION_NAME = "oncegate"

_OURS = frozenset({"pgbouncer", "schema", "application_name", "connect_timeout", "target_session_attrs"})
_DRIVERS = frozenset(
    {"host", "port", "user", "password", "passfile", "database", "dbname", "service", "servicefile", "krbsrvname"}
    | {"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"}
    | {"ssl_min_protocol_version", "ssl_max_protocol_version"}
)
_WRITING = frozenset({"any", "read-write", "primary"})
"""Values of ``target_session_attrs`` that allow what the ledger asks for anyway: a server that takes writes."""
_LEAVE_OUT = {
    "keepalives": "leave it out: a connection that does not answer within seconds is given up, an idle one soon",
    "options": "leave it out: what a session needs is the ledger's own; set what else you want by ALTER ROLE ... SET",
    "channel_binding": "leave it out: the driver has none; sslmode=verify-full makes sure whom you talk to",
    "gssencmode": "leave it out: the driver encrypts by TLS alone",
}
"""Names of libpq that people have in their URLs, by their beginning, and what to do in place of them."""
_APPLICATION_NAME = re.compile(r"[\x20-\x7e]{1,63}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlAddress:
    """Where the ledger is, and how to talk to the server that is there.

    Attributes:
        dsn: for the driver; may hold a password.
        schema: of the tables; a plain identifier, so that it can stand in a statement.
        application_name: by which the server's operator finds our sessions.
        is_pooled: pgbouncer in transaction mode is in between: nothing may outlive a transaction there, neither a
            prepared statement nor a setting.
    """

    dsn: str = field(repr=False)
    schema: str = DEFAULT_SCHEMA
    application_name: str = DEFAULT_APPLICATION_NAME
    is_pooled: bool = False


def parse_address(address: str) -> PostgresqlAddress:
    """Read what follows ``postgresql:`` or ``postgres:``.

    Args:
        address: ``//user:password@host:port/database?option=value``; parts that are missing come from the environment
            (``PGHOST``, ``PGPASSWORD``, ``PGSSLMODE``) and the password file, as for every client of PostgreSQL.

    Raises:
        LedgerUnfit: it means nothing; the message does not repeat it.
    """
    if not address.startswith("//"):
        raise LedgerUnfit("write postgresql://user@host:5432/database", where="[ledger] url")
    if "#" in address:
        raise LedgerUnfit("a # in a password or a name is written %23", where="[ledger] url")
    base, _, query = address.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    if len({name for name, _ in options}) < len(options):
        raise LedgerUnfit("postgresql: an option is given twice", where="[ledger] url")
    for name, _ in options:
        if name not in _OURS | _DRIVERS:
            raise LedgerUnfit(
                f'"{name}" is no option of postgresql: here',
                remedy=f"correct [ledger] url: {_instead_of(name)}",
                where="[ledger] url",
            )
    ours = {name: value for name, value in options if name in _OURS}
    pgbouncer, schema = ours.get("pgbouncer", "0"), ours.get("schema", DEFAULT_SCHEMA)
    if pgbouncer not in {"0", "1"}:
        raise LedgerUnfit("write pgbouncer=1 or leave it out", where="[ledger] url")
    if not _SCHEMA_NAME.fullmatch(schema):
        raise LedgerUnfit("schema: a name of a-z, 0-9 and _, at most 63 characters", where="[ledger] url")
    rest = urlencode([(name, value) for name, value in options if name not in _OURS])
    dsn = f"postgresql:{base}" + (f"?{rest}" if rest else "")
    return PostgresqlAddress(
        dsn=dsn, schema=schema, application_name=_application_name(ours), is_pooled=pgbouncer == "1"
    )


def _application_name(ours: Mapping[str, str]) -> str:
    """Return the name, and look at what libpq's users write beside it: read, but the ledger has limits of its own."""
    name = ours.get("application_name", DEFAULT_APPLICATION_NAME)
    if not _APPLICATION_NAME.fullmatch(name):
        raise LedgerUnfit("application_name: 1 to 63 printable ASCII characters", where="[ledger] url")
    if not _SECONDS.fullmatch(ours.get("connect_timeout", "0")):
        raise LedgerUnfit("connect_timeout: whole seconds", where="[ledger] url")
    if ours.get("target_session_attrs", "any") not in _WRITING:
        raise LedgerUnfit(
            "target_session_attrs: a ledger is written: read-write, primary or any, or leave it out",
            where="[ledger] url",
        )
    return name


def _instead_of(name: str) -> str:
    for beginning, words in _LEAVE_OUT.items():
        if name.startswith(beginning):
            return words
    return f"there are {', '.join(sorted(_OURS | _DRIVERS))}"
