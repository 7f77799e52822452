"""Reads the configuration: ``oncegate.toml``, then the ``ONCEGATE_`` variables that override it.

Every message names the file or variable, the table, the key and the remedy; none quotes a value that may be a secret.

Own code, because pydantic-settings costs 0.4 s, names neither file nor variable, prints secrets, and ignores a
misspelt table in the environment.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from oncegate.settings.spellings import read_table
from oncegate.settings.table import Table, keys_of
from oncegate.settings.tables import (
    TABLES,
    ControlSettings,
    CredentialsSettings,
    DeliverySettings,
    KeysSettings,
    LedgerSettings,
    LinksSettings,
    LogSettings,
    PagesSettings,
    Settings,
    StoreSettings,
    ViewerSettings,
)
from oncegate.unfit import Unfit

PREFIX = "ONCEGATE_"
FILE_BYTES_MAX = 1_048_576
"""No configuration is this long; a device or a log file given by mistake is not read into memory."""


class SettingsError(Unfit):
    """The configuration cannot be used; the message names file or variable, table, key and remedy, and no secret."""


@dataclass(frozen=True, slots=True)
class _Given:
    where: str
    value: object = field(repr=False)


_T = TypeVar("_T", bound=Table)

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
            viewer=_table_of(ViewerSettings, tables.get("viewer")),
            links=_table_of(LinksSettings, tables.get("links")),
            delivery=_table_of(DeliverySettings, tables.get("delivery")),
            control=_table_of(ControlSettings, tables.get("control")),
            store=_table_of(StoreSettings, tables.get("store")),
            ledger=_table_of(LedgerSettings, tables.get("ledger")),
            keys=_table_of(KeysSettings, tables.get("keys")),
            pages=_table_of(PagesSettings, tables.get("pages")),
            log=_table_of(LogSettings, tables.get("log")),
            s3_credentials=_table_of(CredentialsSettings, tables.get("s3_credentials")).secrets,
            folder=Path.cwd() if path is None else path.absolute().parent,
            file=path,
        )
    except ValueError as error:
        raise SettingsError(str(error), where=str(path or "environment")) from None


def _take_file(tables: _Tables, path: Path) -> None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise SettingsError(f"longer than {FILE_BYTES_MAX} bytes: this is no configuration", where=str(path))
        document: dict[str, object] = tomllib.loads(content.decode())
    except FileNotFoundError:
        raise SettingsError(
            "no such file", remedy="'oncegate init' makes one, --config names another", where=str(path)
        ) from None
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"not UTF-8 at byte {error.start}", where=str(path)) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError tells line and column, and quotes no value
        raise SettingsError(f"not TOML: {error}", where=str(path)) from None
    for table, content in document.items():
        if table not in TABLES:
            what = "table" if isinstance(content, dict) else "table; a key belongs into one, under a line [table]:"
            raise SettingsError(f"no {what} {table}", remedy=_hint(table, TABLES), where=str(path))
        _take_table(tables, table, _Given(f"{path}: [{table}]", content))


def _take_table(tables: _Tables, table: str, given: _Given) -> None:
    if table == "s3_credentials":
        tables[table] = {"s3_credentials": given}
        return
    try:
        content = read_table(given.value)
    except ValueError as error:
        raise SettingsError(str(error), where=given.where) from None
    tables[table] = {key: _Given(f"{given.where} {key}", value) for key, value in content.items()}


def _take_variables(tables: _Tables, environ: Mapping[str, str]) -> None:
    ignored = {PREFIX + "CONFIG", _variable_of_key(tables, environ)}
    for name in sorted(environ):  # ONCEGATE_VIEWER comes before ONCEGATE_VIEWER__LISTEN, which is to change it
        if not name.startswith(PREFIX) or name in ignored or _is_from_kubernetes(name, environ):
            continue
        table, separator, key = name.removeprefix(PREFIX).partition("__")
        if table != table.upper() or key != key.upper():
            raise SettingsError("not in capital letters", remedy=f"write {name.upper()}", where=name)
        table, key = table.lower(), key.lower()
        if table not in TABLES:
            hint = _hint(table, TABLES) if separator else _hint_of(name)
            raise SettingsError(f"no table {table}", remedy=hint, where=name)
        if not separator:
            _take_table(tables, table, _Given(name, _json(name, environ[name])))
            continue
        keys = {known.name: known for _, known in keys_of(TABLES[table])}
        if table == "s3_credentials":
            raise SettingsError(
                "a secret cannot be given alone",
                remedy=f"give the table whole, as JSON, in {PREFIX}S3_CREDENTIALS",
                where=name,
            )
        if key not in keys:
            raise SettingsError(f"[{table}] {key}: unknown key", remedy=_hint(key, keys), where=name)
        text = environ[name]
        is_json = keys[key].is_many and text.startswith(("[", "{"))
        tables.setdefault(table, {})[key] = _Given(name, _json(name, text) if is_json else text)


def _variable_of_key(tables: _Tables, environ: Mapping[str, str]) -> str:
    """Return the name of the variable that holds the signing key: it may begin with ONCEGATE_ and is no setting."""
    in_file = tables.get("keys", {}).get("signing")
    signing = environ.get(PREFIX + "KEYS__SIGNING", in_file.value if in_file else "")
    return signing.removeprefix("env:") if isinstance(signing, str) and signing.startswith("env:") else ""


def _hint_of(name: str) -> str:
    keys = [f"{table}__{key.name}" for table, settings in TABLES.items() for _, key in keys_of(settings)]
    return _hint(name, [PREFIX + known.upper() for known in (*TABLES, *keys)])


_KUBERNETES = re.compile(
    r"ONCEGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def _is_from_kubernetes(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether Kubernetes set the variable: it does so for every service, also for one that is named oncegate."""
    return "KUBERNETES_SERVICE_HOST" in environ and _KUBERNETES.fullmatch(name) is not None


def _json(name: str, text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError(
            "not JSON", remedy="a table is an object, {...}, a list is an array, [...]", where=name
        ) from None
    return value


def _table_of(table: type[_T], given: Mapping[str, _Given] | None) -> _T:
    entries = {key.name: (entry.name, key) for entry, key in keys_of(table)}
    values: dict[str, object] = {}
    for name, item in (given or {}).items():
        if name not in entries:
            raise SettingsError("unknown key", remedy=_hint(name, entries), where=item.where)
        field_name, key = entries[name]
        try:
            values[field_name] = key.read(item.value)
        except ValueError as error:
            raise SettingsError(str(error), where=item.where) from None
    return table(**values)


def _hint(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  only where something is wrong

    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
