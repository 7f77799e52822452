"""Reads the address of a ``dynamodb:`` ledger: ``//table?region=...&endpoint=...&profile=...``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from oncegate.aws_requests.endpoint import endpoint_of
from oncegate.ledgers.protocol import LedgerUnfit

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_NAMES = frozenset({"region", "endpoint", "profile"})
_FORM = "write dynamodb://table?region=eu-central-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a table is.

    Attributes:
        table: its name.
        region: where it is, and in signatures.
        endpoint: scheme, host and port.
        profile: of the shared files, for credentials; empty: the usual one.
    """

    table: str
    region: str
    endpoint: str
    profile: str = ""


def parse_address(address: str, environ: Mapping[str, str]) -> Address:
    """Read an address; a region or an endpoint that it does not name is that of the environment.

    Raises:
        LedgerUnfit: it names no table, no region is known, or it holds something else.
    """
    rest, question, query = address.partition("?")
    table = rest.removeprefix("//").rstrip("/")
    if not rest.startswith("//"):
        raise LedgerUnfit("dynamodb: two slashes are missing before the table's name", remedy=_FORM)
    if not table:
        raise LedgerUnfit("dynamodb: the address names no table", remedy=_FORM)
    if not _TABLE.fullmatch(table):
        raise LedgerUnfit(
            "dynamodb: a table's name has 3 to 255 characters, letters, digits, _ . and -, and nothing follows it",
            remedy=_FORM,
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(question))
    except ValueError as error:
        raise LedgerUnfit("dynamodb: the address cannot be read", remedy=_FORM) from error
    values = dict(pairs)
    if len(values) != len(pairs) or not values.keys() <= _NAMES:
        raise LedgerUnfit("dynamodb: the address may hold region, endpoint and profile, each once", remedy=_FORM)
    region = values.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if not _REGION.fullmatch(region):
        raise LedgerUnfit("dynamodb: no region is known", remedy=f"{_FORM}, or set AWS_REGION")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = endpoint_of("DYNAMODB", given=values.get("endpoint", ""), environ=environ)
    endpoint = endpoint or f"https://dynamodb.{region}.{domain}"
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise LedgerUnfit("dynamodb: the endpoint must be http:// or https:// with a host and no path")
    return Address(table=table, region=region, endpoint=endpoint, profile=values.get("profile", ""))
