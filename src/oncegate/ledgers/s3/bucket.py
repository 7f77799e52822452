"""The bucket of an ``s3:`` ledger: whole small objects, written on a condition, through obstore.

All objects are stored under ``.oncegate/ledger/`` beneath the prefix, which the stores never serve. obstore saves us S3's
protocol, its credentials and its retries; it repeats a conditional write after a 5xx by itself, so "exists" may mean our
own write: the caller must recognise it.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qsl

import obstore
from obstore import exceptions
from obstore.store import S3Store

from oncegate.aws_requests.credentials import ChainCredentials, provider_of
from oncegate.aws_requests.endpoint import allow_http_of, endpoint_of
from oncegate.ledgers.protocol import LedgerUnfit

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import ObjectMeta, PutMode
    from obstore.store import ObjectStore

FOLDER = ".oncegate/ledger"
FAULTS = (exceptions.BaseError, OSError, ValueError)
"""Everything that obstore raises for an expected fault."""

_CLIENT_OPTIONS = frozenset({"allow_http", "allow_invalid_certificates", "proxy_url", "root_certificate"})
_TRUE = frozenset({"true", "1", "yes", "on"})
_FORM = "write s3://bucket/prefix?region=eu-central-1, with &endpoint=... for another server than AWS"


class Found(NamedTuple):
    """An object, whole."""

    data: bytes
    etag: str


class Bucket:
    """Reads and writes objects of the ledger by name. Raises ``FAULTS``, but for what is said of each call."""

    def __init__(self, store: ObjectStore) -> None:
        self._open: ObjectStore | None = store
        self._has_bare_etags: bool | None = None

    @property
    def _store(self) -> ObjectStore:
        if self._open is None:
            raise OSError("the bucket is closed")
        return self._open

    def close(self) -> None:
        """Let go of the driver: its connections are closed with it, and by nothing else."""
        self._open = None

    async def create(self, name: str, data: bytes) -> str | None:
        """Write where no object is stored, and return the ETag; None where one is."""
        return await self._put(name, data, "create")

    async def replace(self, name: str, data: bytes, etag: str) -> str | None:
        """Write in place of one version, and return the ETag; None where another stands, or nothing.

        Ceph (16, at least) compares ``If-Match`` with the ETag without its quotes, so that it refuses every version. That
        is noticed where a version was refused and still stands; no version comes twice. Once quotes were understood, which
        every probe waits for, no other form is sent: a server might pass over one that it cannot read.
        """
        put = await self._put(name, data, {"e_tag": etag.strip('"') if self._has_bare_etags else etag})
        if self._has_bare_etags is None and put is not None:
            self._has_bare_etags = False
        if self._has_bare_etags is None and (meta := await self.head(name)) is not None and meta["e_tag"] == etag:
            put = await self._put(name, data, {"e_tag": etag.strip('"')})
            self._has_bare_etags = True if put is not None else None
        return put

    async def overwrite(self, name: str, data: bytes) -> None:
        """Write, whatever is stored under this name."""
        await self._put(name, data, "overwrite")

    async def get(self, name: str) -> Found | None:
        """Read an object; None where there is none."""
        try:
            answer = await obstore.get_async(self._store, f"{FOLDER}/{name}")
            return Found(bytes(await answer.bytes_async()), answer.meta["e_tag"] or "")
        except FileNotFoundError:
            return None

    async def head(self, name: str) -> ObjectMeta | None:
        """Look; None where nothing stands."""
        try:
            return await obstore.head_async(self._store, f"{FOLDER}/{name}")
        except FileNotFoundError:
            return None

    async def delete(self, name: str) -> None:
        """Remove; nothing there is no fault."""
        try:
            await obstore.delete_async(self._store, f"{FOLDER}/{name}")
        except FileNotFoundError:
            return

    async def names(self, folder: str, *, after: str = "", until_s: float = math.inf) -> AsyncIterator[Sequence[str]]:
        """List the names in a folder that sort after one, page by page, in order.

        Args:
            folder: a part of the ledger.
            after: a name.
            until_s: by the server's clock; what was written later is left out.
        """
        # The cast: obstore's own types name those of an optional package.
        listing = cast("Callable[..., AsyncIterator[Sequence[ObjectMeta]]]", obstore.list)  # pyright: ignore[reportUnknownMemberType]  the same
        before = f"{FOLDER}/{folder}/"
        offset = f"{before}{after}" if after else None
        async for page in listing(self._store, before[:-1], offset=offset, chunk_size=1000):
            yield [meta["path"].removeprefix(before) for meta in page if meta["last_modified"].timestamp() <= until_s]

    async def _put(self, name: str, data: bytes, mode: PutMode) -> str | None:
        try:
            put = await obstore.put_async(self._store, f"{FOLDER}/{name}", data, mode=mode, use_multipart=False)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError, FileNotFoundError):
            return None
        if not put["e_tag"]:
            raise ValueError("the server gives no ETag for what it stored")
        return put["e_tag"]


def open_bucket(address: str, environ: Mapping[str, str] = os.environ) -> Bucket:
    """Open the bucket of ``s3:ADDRESS``; nothing is asked of it yet.

    Args:
        address: ``//bucket/prefix?region=...&endpoint=...``; after the question mark obstore's names of options.
        environ: where credentials may be given.

    Raises:
        LedgerUnfit: the address names no bucket, or an option is unknown.
    """
    rest, question, query = address.partition("?")
    name, _, prefix = rest.removeprefix("//").partition("/")
    prefix = prefix.strip("/")
    if not rest.startswith("//") or not name or "//" in prefix:
        raise LedgerUnfit("s3: the address names no bucket", remedy=_FORM)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(question))
    except ValueError as error:
        raise LedgerUnfit("s3: the address cannot be read", remedy=_FORM) from error
    options = {key.lower().removeprefix("aws_"): value for key, value in pairs}
    profile = options.pop("profile", "")
    given = options.get("access_key_id") or options.get("skip_signature") or environ.get("AWS_ACCESS_KEY_ID")
    chain = None if given and not profile else provider_of(ChainCredentials(profile))
    endpoint = options.pop("endpoint_url", "") or options.pop("endpoint", "")
    if endpoint := endpoint_of("S3", given=endpoint, environ=environ):
        options |= {"endpoint": endpoint}
        options["allow_http"] = allow_http_of(endpoint, given=options.get("allow_http"), environ=environ)
    client: dict[str, object] = {"connect_timeout": "2s", "timeout": "3s"}
    for key in _CLIENT_OPTIONS & options.keys():
        value = options.pop(key)
        client[key] = value.lower() in _TRUE if key.startswith("allow") else value
    try:
        # The casts: obstore checks options itself, and names the one that it does not know.
        store = S3Store(
            name,
            prefix=prefix or None,
            config=cast("Any", {"disable_bulk_delete": "true", **options}),
            client_options=cast("Any", client),
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=3)},
            credential_provider=cast("Any", chain),
        )
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise LedgerUnfit(f"s3: {first_line(error)}", remedy=_FORM) from error
    return Bucket(store)


def first_line(error: BaseException) -> str:
    """Return what an error says, without the driver's dump of itself."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]
