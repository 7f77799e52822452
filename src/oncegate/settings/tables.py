"""The configuration: ``oncegate.toml`` and ``ONCEGATE_`` variables, read once into values that never change.

Each key of a table is a field here, with the function of ``spellings.py`` that reads it; reading a value
that was read gives it back, and so the constructors check with the same functions. Every
message names the file or variable, the table, the key and the remedy; none holds a value that may be a secret.
Nothing is opened here: whether a key, a store or a ledger can be used is for those who open it.

Own code, because pydantic-settings costs 0.4 s, names neither file nor variable, prints secrets, and ignores a
misspelt table in the environment.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast

from oncegate.settings.spellings import (
    Address,
    Network,
    choice,
    duration_s,
    each,
    matching,
    read_address,
    read_cors_origin,
    read_credentials,
    read_header,
    read_instant,
    read_networks,
    read_options,
    read_prefix,
    read_public_urls,
    read_signing,
    read_size_bytes,
    read_table,
    read_url,
)
from oncegate.unfit import Unfit

PREFIX = "ONCEGATE_"
FILE_BYTES_MAX = 1_048_576
"""No configuration is this long; a device or a log file given by mistake is not read into memory."""


class SettingsError(Unfit):
    """The configuration cannot be used; the message names file or variable, table, key and remedy, and no secret."""


# Tables: a field's name carries its unit, its key in the file does not.


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    read: Callable[[object], object]
    is_many: bool


def _key(name: str, read: Callable[[object], object], *, is_many: bool = False) -> dict[str, _Key]:
    return {"key": _Key(name, read, is_many)}


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table of the file. Raises ``ValueError`` for a value that its key's reader would not give."""

    def __post_init__(self) -> None:
        for entry, key in _keys_of(type(self)):
            value: object = getattr(self, entry.name)
            if key.read(value) != value:
                raise ValueError(f"{key.name}: not in its normal form")


def _keys_of(table: type[_Table]) -> list[tuple[Field[Any], _Key]]:
    return [(entry, cast("_Key", entry.metadata["key"])) for entry in fields(table)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSettings(_Table):
    """``[viewer]``: the public listener.

    Attributes:
        listen: where it binds.
        public_url: scheme, lower-case host and port (where not the default) that links carry; the first is for new links.
        trusted_proxies: peers whose ``proxy_header`` is believed.
        proxy_header: lower-case name of the one forwarding header that is believed.
        confirm: when a person is asked before a use is spent.
        cors_origins: origins that may read answers in a browser; ``*`` is all.
        drain_s: seconds that running transfers get to finish after SIGTERM.
        max_upload_bytes: the largest body of an upload that is taken, whatever a link allows.
    """

    listen: Address = field(default=Address("127.0.0.1", 8080), metadata=_key("listen", read_address))
    public_url: tuple[str, ...] = field(
        default=("http://127.0.0.1:8080",), metadata=_key("public_url", read_public_urls, is_many=True)
    )
    trusted_proxies: tuple[Network, ...] = field(
        default=(), metadata=_key("trusted_proxies", read_networks, is_many=True)
    )
    proxy_header: str = field(
        default="x-forwarded-for",
        metadata=_key("proxy_header", read_header),
    )
    confirm: Literal["auto", "always", "never"] = field(
        default="auto", metadata=_key("confirm", choice("auto", "always", "never"))
    )
    cors_origins: tuple[str, ...] = field(
        default=(), metadata=_key("cors_origins", each(read_cors_origin), is_many=True)
    )
    drain_s: int = field(default=30, metadata=_key("drain", duration_s(0)))
    max_upload_bytes: int = field(default=5 * 2**40, metadata=_key("max_upload", read_size_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksSettings(_Table):
    """``[links]``: what links may do.

    Attributes:
        plain_links: what a link without a ticket is worth.
        plain_put: beginnings of object keys where plain CloudFront links may PUT.
        resume_window_s: seconds after the last write of a claim in which its holder may ask for the rest.
        resume_by: what proves a holder.
        stall_timeout_s: seconds without progress after which a transfer is cut.
        max_lifetime_s: longest life of links made here; what retiring a key waits for.
        s3_bucket: requests for this bucket drop its name: the object key is the rest. Empty: none.
        s3_region: the region that S3 presigned URLs must name. Empty: any.
        home: the name of this gateway's ledger in tickets. Empty: none.
    """

    plain_links: Literal["once", "allow", "refuse"] = field(
        default="once", metadata=_key("plain_links", choice("once", "allow", "refuse"))
    )
    plain_put: tuple[str, ...] = field(default=(), metadata=_key("plain_put", each(read_prefix), is_many=True))
    resume_window_s: int = field(default=900, metadata=_key("resume_window", duration_s(0)))
    resume_by: Literal["cookie-or-address", "cookie", "never"] = field(
        default="cookie-or-address", metadata=_key("resume_by", choice("cookie-or-address", "cookie", "never"))
    )
    stall_timeout_s: int = field(default=60, metadata=_key("stall_timeout", duration_s(1)))
    max_lifetime_s: int = field(default=604_800, metadata=_key("max_lifetime", duration_s(1)))
    s3_bucket: str = field(
        default="",
        metadata=_key("s3_bucket", matching(r"|[A-Za-z0-9][A-Za-z0-9._-]{1,254}", "write the name of a bucket alone")),
    )
    s3_region: str = field(
        default="", metadata=_key("s3_region", matching(r"|[a-z0-9-]{1,64}", "write a region, as in eu-central-1"))
    )
    home: str = field(default="", metadata=_key("home", matching(r"[a-z0-9]{0,12}", "write 1 to 12 of a-z and 0-9")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings(_Table):
    """``[control]``: the private listener, where it binds."""

    listen: Address = field(default=Address("127.0.0.1", 8081), metadata=_key("listen", read_address))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings(_Table):
    """``[store]``: where the objects are.

    Attributes:
        url: a URL whose scheme names the backend; those who open it know the schemes.
        options: the backend's own options as text; may hold secrets.
    """

    url: str = field(default="file:./objects", repr=False, metadata=_key("url", read_url))
    options: Mapping[str, str] = field(
        default_factory=_nothing, repr=False, metadata=_key("options", read_options, is_many=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings(_Table):
    """``[ledger]``: where uses are recorded.

    Attributes:
        url: a URL whose scheme names the backend; may hold a password.
        accept: weaker promises that are accepted, by name.
        accept_from: after a restore, tickets made before this aware instant are refused; None: since the ledger's birth.
    """

    url: str = field(default="sqlite:./ledger.db", repr=False, metadata=_key("url", read_url))
    accept: tuple[str, ...] = field(
        default=(),
        metadata=_key("accept", each(matching(r"[a-z0-9-]+", "write names such as redis-failover")), is_many=True),
    )
    accept_from: datetime | None = field(default=None, metadata=_key("accept_from", read_instant))

    @property
    def accept_from_ms(self) -> int | None:
        """``accept_from`` in milliseconds since 1970 UTC."""
        if self.accept_from is None:
            return None
        return (self.accept_from - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSettings(_Table):
    """``[keys]``: whom the viewer trusts, and who signs.

    Attributes:
        group: the folder of the key group, as written; ``Settings.resolve`` makes it a path.
        signing: where the private key is: a path, ``env:NAME``, or a service. Empty: nothing is signed here.
    """

    group: str = field(default="./keys", metadata=_key("group", matching(r".+", "write the path of a folder")))
    signing: str = field(default="", metadata=_key("signing", read_signing))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(_Table):
    """``[log]``: how the log is written."""

    format: Literal["json", "console"] = field(default="json", metadata=_key("format", choice("json", "console")))


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsSettings(_Table):
    """``[s3_credentials]``: with what S3 presigned URLs may be signed.

    Attributes:
        secrets: secret by access key id.
    """

    secrets: Mapping[str, str] = field(
        default_factory=_nothing, repr=False, metadata=_key("s3_credentials", read_credentials, is_many=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    Attributes:
        folder: where relative paths begin: the file's folder, absolute.
        file: the file that was read; None where there was none.
        s3_credentials: secret by access key id.
    """

    viewer: ViewerSettings = field(default_factory=ViewerSettings)
    links: LinksSettings = field(default_factory=LinksSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    keys: KeysSettings = field(default_factory=KeysSettings)
    log: LogSettings = field(default_factory=LogSettings)
    s3_credentials: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    folder: Path = field(default_factory=Path.cwd)
    file: Path | None = None

    def __post_init__(self) -> None:
        CredentialsSettings(secrets=self.s3_credentials)
        if self.viewer.listen == self.control.listen and self.viewer.listen.port:
            raise ValueError("[control] listen is also [viewer] listen: give each listener a port of its own")

    def resolve(self, path: str) -> Path:
        """Return the path that is meant by one in the configuration: relative ones begin at the file's folder."""
        return self.folder / path


# Reading: what was given, and under which name messages speak of it.


@dataclass(frozen=True, slots=True)
class _Given:
    where: str
    value: object = field(repr=False)


_TABLES: Mapping[str, type[_Table]] = {
    "viewer": ViewerSettings,
    "links": LinksSettings,
    "control": ControlSettings,
    "store": StoreSettings,
    "ledger": LedgerSettings,
    "keys": KeysSettings,
    "log": LogSettings,
    "s3_credentials": CredentialsSettings,
}
_T = TypeVar("_T", bound=_Table)

_Tables = dict[str, dict[str, _Given]]


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the configuration.

    Args:
        path: the TOML file; None for none, then relative paths begin at the current folder.
        environ: variables; those that begin with ``ONCEGATE_`` override the file, ``ONCEGATE_CONFIG`` is not looked at.

    Raises:
        SettingsError: anything in it cannot be used.
    """
    tables: _Tables = {}
    if path is not None:
        _take_file(tables, path)
    _take_variables(tables, environ)
    try:
        return Settings(
            viewer=_build(ViewerSettings, tables.get("viewer")),
            links=_build(LinksSettings, tables.get("links")),
            control=_build(ControlSettings, tables.get("control")),
            store=_build(StoreSettings, tables.get("store")),
            ledger=_build(LedgerSettings, tables.get("ledger")),
            keys=_build(KeysSettings, tables.get("keys")),
            log=_build(LogSettings, tables.get("log")),
            s3_credentials=_build(CredentialsSettings, tables.get("s3_credentials")).secrets,
            folder=Path.cwd() if path is None else path.absolute().parent,
            file=path,
        )
    except ValueError as error:
        raise SettingsError(f"{path or 'environment'}: {error}") from None


def _take_file(tables: _Tables, path: Path) -> None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise SettingsError(f"{path}: longer than {FILE_BYTES_MAX} bytes: this is no configuration")
        document: dict[str, object] = tomllib.loads(content.decode())
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; 'oncegate init' makes one, --config names another") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError tells line and column, and quotes no value
        raise SettingsError(f"{path}: not TOML: {error}") from None
    for table, content in document.items():
        if table not in _TABLES:
            what = "table" if isinstance(content, dict) else "table; a key belongs into one, under a line [table]:"
            raise SettingsError(f"{path}: no {what} {table}{_hint(table, _TABLES)}")
        _take_table(tables, table, _Given(f"{path}: [{table}]", content))


def _take_table(tables: _Tables, table: str, given: _Given) -> None:
    if table == "s3_credentials":
        tables[table] = {"s3_credentials": given}
        return
    try:
        content = read_table(given.value)
    except ValueError as error:
        raise SettingsError(f"{given.where}: {error}") from None
    tables[table] = {key: _Given(f"{given.where} {key}", value) for key, value in content.items()}


def _take_variables(tables: _Tables, environ: Mapping[str, str]) -> None:
    ignored = {PREFIX + "CONFIG", _variable_of_key(tables, environ)}
    for name in sorted(environ):  # ONCEGATE_VIEWER comes before ONCEGATE_VIEWER__LISTEN, which is to change it
        if not name.startswith(PREFIX) or name in ignored or _is_from_kubernetes(name, environ):
            continue
        table, separator, key = name.removeprefix(PREFIX).partition("__")
        if table != table.upper() or key != key.upper():
            raise SettingsError(f"{name}: write it in capital letters, {name.upper()}")
        table, key = table.lower(), key.lower()
        if table not in _TABLES:
            raise SettingsError(f"{name}: no table {table}{_hint(table, _TABLES) if separator else _hint_of(name)}")
        if not separator:
            _take_table(tables, table, _Given(name, _json(name, environ[name])))
            continue
        keys = {known.name: known for _, known in _keys_of(_TABLES[table])}
        if table == "s3_credentials":
            raise SettingsError(f"{name}: give the table whole, as JSON, in {PREFIX}S3_CREDENTIALS")
        if key not in keys:
            raise SettingsError(f"{name}: [{table}] {key}: unknown key{_hint(key, keys)}")
        text = environ[name]
        is_json = keys[key].is_many and text.startswith(("[", "{"))
        tables.setdefault(table, {})[key] = _Given(name, _json(name, text) if is_json else text)


def _variable_of_key(tables: _Tables, environ: Mapping[str, str]) -> str:
    """Name the variable that holds the signing key, for it may well begin with ONCEGATE_ too."""
    in_file = tables.get("keys", {}).get("signing")
    signing = environ.get(PREFIX + "KEYS__SIGNING", in_file.value if in_file else "")
    return signing.removeprefix("env:") if isinstance(signing, str) and signing.startswith("env:") else ""


def _hint_of(name: str) -> str:
    keys = [f"{table}__{key.name}" for table, settings in _TABLES.items() for _, key in _keys_of(settings)]
    return _hint(name, [PREFIX + known.upper() for known in (*_TABLES, *keys)])


_KUBERNETES = re.compile(
    r"ONCEGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def _is_from_kubernetes(name: str, environ: Mapping[str, str]) -> bool:
    """Say whether Kubernetes put the variable there: it does for every service, so for one named oncegate as well."""
    return "KUBERNETES_SERVICE_HOST" in environ and _KUBERNETES.fullmatch(name) is not None


def _json(name: str, text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError(f"{name}: not JSON: a table is an object, {{...}}, a list is an array, [...]") from None
    return value


def _build(table: type[_T], given: Mapping[str, _Given] | None) -> _T:
    entries = {key.name: (entry.name, key) for entry, key in _keys_of(table)}
    values: dict[str, object] = {}
    for name, item in (given or {}).items():
        if name not in entries:
            raise SettingsError(f"{item.where}: unknown key{_hint(name, entries)}")
        field_name, key = entries[name]
        try:
            values[field_name] = key.read(item.value)
        except ValueError as error:
            raise SettingsError(f"{item.where}: {error}") from None
    return table(**values)


def _hint(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
