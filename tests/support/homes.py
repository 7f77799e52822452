"""Installations as the tests of the gateway use them."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Any

from oncegate.ledgers.claiming import insert_or_rewrite
from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Event, KeepsEvents, Stands
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.testing.installation import Installation, Serving
from oncegate.uses.record import Record, from_json

_NONCE = re.compile(r"once=[gp]\d*\.([A-Za-z0-9_-]{22})")


class Home(Installation):
    """An installation with what tests ask of it again and again.

    Attributes:
        serving: its gateway, where a fixture runs one.
    """

    serving: Serving

    def lead_to(self, public_url: str) -> None:
        """Let the links lead to another address from here on, as to a relay before the gateway."""
        self.public_url = public_url
        self.write_config()

    def lay(self, data: bytes, key: str | None = None) -> str:
        """Lay an object into the store, and return its key, a fresh one where none is given."""
        key = key or f"{secrets.token_hex(5)}.bin"
        self.put(key, data)
        return key

    def sparse(self, size_bytes: int, key: str | None = None) -> str:
        """An object of zeros that takes no room."""
        key = key or f"{secrets.token_hex(5)}.bin"
        path = self.objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size_bytes)
        return key

    def fresh(self, data: bytes, key: str | None = None, **wish: Any) -> str:
        """A download link to a new object."""
        return self.link(self.lay(data, key), **wish)

    def upload(self, key: str | None = None, **wish: Any) -> str:
        """An upload link to a key where nothing stands, or to the one given."""
        return self.link(key or f"in/{secrets.token_hex(5)}.bin", operation=Operation.PUT, **wish)

    def stands(self, url: str) -> bytes | None:
        """What stands in the store where a link (of a plain name) leads."""
        path = self.objects / url.partition("?")[0].removeprefix(self.public_url + "/")
        return path.read_bytes() if path.exists() else None

    def ends(self, url: str) -> list[str]:
        """The outcomes of a link's downloads, as its events tell them, oldest first."""
        return [str(event["outcome"]) for event in self.downloads(url)]

    def downloads(self, url: str) -> list[Event]:
        """The events that tell the ends of a link's downloads, oldest first."""

        async def read() -> list[Event]:
            ledger = open_ledger(str(self._tables["ledger"]["url"]), folder=self.folder)
            assert isinstance(ledger, KeepsEvents)
            try:
                found = await ledger.events_of_link(text_of_id(link_id_of(url)), 1_000)
            finally:
                await ledger.aclose()
            return [event for event in found.newest if event["event"] == "download"]

        return asyncio.run(read())

    def record(self, url: str) -> Record | None:
        """What the ledger says of a link."""

        async def read() -> Record | None:
            ledger = open_ledger(str(self._tables["ledger"]["url"]), folder=self.folder)
            try:
                found = await ledger.read(link_id_of(url))
            finally:
                await ledger.aclose()
            return from_json(found.record) if isinstance(found, Stands) else None

        return asyncio.run(read())

    def change_record(self, url: str, change: Callable[[Record | None], Record | None]) -> None:
        """Write a record as another program would: revoke, or let a lease end."""

        async def write() -> None:
            ledger = open_ledger(str(self._tables["ledger"]["url"]), folder=self.folder)
            try:
                await LedgerRunner(ledger).run(
                    link_id_of(url), insert_or_rewrite(link_id_of(url), FORGET_NEVER_S, change)
                )
            finally:
                await ledger.aclose()

        asyncio.run(write())


def link_id_of(url: str) -> bytes:
    """The id of a link with a ticket."""
    found = _NONCE.search(url)
    assert found is not None
    return id_of_text(found[1])
