"""The control API as a function of Lambda: the same application over the deployment's ledger, store and key.

Everything is opened at the first call and kept with its event loop, for as long as Lambda keeps the process: keys are
fetched once. A key in KMS is another one only in another configuration, which is another process; the text of one in
Secrets Manager or SSM is fetched again after ``KEY_KEPT_S``. Nothing works between two calls, because Lambda stops the
process: writes are waited for and log lines are written before a call is answered, and nothing is swept, which the
table's time-to-live does.

Source: Lambda Developer Guide, "Lambda execution environment".
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from oncegate.atomic_file import replace_file
from oncegate.aws.stacks.api_variables import AUTHORIZER, CONFIGURATION, PUBLIC_KEYS, SECRET
from oncegate.control.admission import AuthorizedCallers
from oncegate.control.app import control_app
from oncegate.control.parts import ControlParts, PartState
from oncegate.events import Journal
from oncegate.keys.signing import SERVICES, OpenedKey, open_signing_key
from oncegate.keys.trust import Trusting
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.homes import FurtherHomes
from oncegate.ledgers.protocol import AsksAgain, Ledger, LedgerFacts, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.service.direct import sign_directly
from oncegate.service.home_ledgers import open_home_ledger
from oncegate.service.listed_store import ListedStore
from oncegate.service.payload import answer, is_request
from oncegate.service.readiness import SILENT
from oncegate.settings import Settings, load
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import Store, StoreFault
from oncegate.unfit import Unfit

KEY_KEPT_S = 300.0
"""For so long the text of a signing key counts as the one that the service has."""
_PROBE_ID = b"\xff" + bytes(15)
_log = logging.getLogger("oncegate.keys")


class MissingVariable(Unfit):
    """The function was deployed without something that it needs."""


class KeptKey:
    """The signing key, fetched once and again when its text may have been exchanged.

    Args:
        open_key: fetches it.
        kept_s: for how long it counts as the one that stands; None: as long as this process.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        open_key: Callable[[], OpenedKey],
        *,
        kept_s: float | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_key = open_key
        self._kept_s = kept_s
        self._monotonic = monotonic
        self._key = open_key()
        self._fetched_at = monotonic()

    def now(self) -> OpenedKey:
        """Return the key that signs."""
        return self._key

    def refresh(self) -> None:
        """Fetch it again where it is time to; one that cannot be used is logged, and the former one goes on."""
        if self._kept_s is None or self._monotonic() - self._fetched_at < self._kept_s:
            return
        self._fetched_at = self._monotonic()
        try:
            self._key = self._open_key()
        except Unfit as unfit:
            _log.error("%s; new links are signed as before", unfit)


class ApiFunction:
    """The control API, opened.

    Args:
        environ: variables of ``oncegate.aws.stacks.api_variables``, and AWS's own.
        folder: where the configuration and the public keys are laid.
        log_descriptor: where log lines go.

    Raises:
        Unfit: something cannot be used as configured.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path, *, log_descriptor: int = 2) -> None:
        settings = _laid(environ, folder)
        # one loop for all calls: what is opened in it stays connected
        self._runner = asyncio.Runner()
        trusting = Trusting(settings)
        is_text = settings.keys.signing.startswith(SERVICES) and not settings.keys.signing.startswith("kms:")
        self._key = KeptKey(
            lambda: open_signing_key(settings.keys.signing, settings.folder, environ, group=trusting.folder),
            kept_s=KEY_KEPT_S if is_text else None,
        )
        self._journal = Journal(descriptor=log_descriptor)
        self._parts = self._runner.run(self._opened(settings, environ, trusting))
        self._app = control_app(self._parts)

    def answer(self, event: Mapping[str, Any]) -> object:
        """Answer a request of the HTTP API, or a direct invocation.

        Raises:
            BadRequest: a direct invocation asks for what cannot be had.
        """
        self._key.refresh()
        return self._runner.run(self._answer(event))

    def close(self) -> None:
        """Let go of everything; Lambda never does."""
        self._runner.run(self._parts.ledger.aclose())
        self._runner.run(self._parts.homes.aclose())
        self._runner.run(self._parts.store.aclose())
        self._runner.close()

    async def _answer(self, event: Mapping[str, Any]) -> object:
        try:
            if is_request(event):
                return await answer(self._app, event)
            return await sign_directly(self._parts, event)
        finally:
            await self._parts.runner.drain()
            await self._parts.homes.drain()
            await self._journal.aclose()

    async def _opened(self, settings: Settings, environ: Mapping[str, str], trusting: Trusting) -> ControlParts:
        ledger = open_home_ledger(settings)
        facts = await _look_at(ledger)
        store = ListedStore(open_store(settings.store.url, folder=settings.folder, options=settings.store.options))
        return ControlParts(
            settings=settings,
            callers=AuthorizedCallers("jwt" if environ[AUTHORIZER] == "jwt" else "iam", environ[SECRET].encode()),
            ledger=ledger,
            runner=LedgerRunner(ledger, health=LedgerHealth(facts)),
            born_ms=facts.born_ms,
            homes=FurtherHomes(
                settings.ledger.homes, open_home=functools.partial(open_home_ledger, settings), probe=_look_at
            ),
            store=store,
            trust=trusting.now,
            signer=self._key.now,
            journal=self._journal,
            readiness=lambda: _readiness(ledger, store),
        )


async def _look_at(ledger: Ledger) -> LedgerFacts:
    """Look without writing: the deployer has probed it, and so the role needs no right to delete."""
    return await (ledger.ask_again() if isinstance(ledger, AsksAgain) else ledger.probe())


async def _readiness(ledger: Ledger, store: Store) -> Sequence[PartState]:
    """Ask ledger and store for something harmless that the role may; the key is asked by every link that is made."""
    is_read = not isinstance(await ledger.read(_PROBE_ID), Unknown)
    try:
        await store.list_objects("", "", 1)
        is_listed = True
    except StoreFault:
        is_listed = False
    found = {"ledger": is_read, "store": is_listed}
    return [
        PartState(name=name, is_ready=is_ready, words="" if is_ready else SILENT) for name, is_ready in found.items()
    ]


def _laid(environ: Mapping[str, str], folder: Path) -> Settings:
    """Lay the configuration and the key group into files, and read them as every command does."""
    for name in (CONFIGURATION, PUBLIC_KEYS, AUTHORIZER, SECRET):
        if not environ.get(name):
            raise MissingVariable(f"{name} is missing", remedy="deploy it by 'oncegate aws deploy'")
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    for key_id, pem in json.loads(environ[PUBLIC_KEYS]).items():
        replace_file(folder / "keys" / f"{key_id}.pem", pem.encode(), mode=0o644)
    config = folder / "oncegate.toml"
    replace_file(config, environ[CONFIGURATION].encode(), mode=0o644)
    return load(config, environ)


_opened: list[ApiFunction] = []
"""The one of this process, when it was first called."""


def handler(event: Mapping[str, Any], context: object) -> object:
    """What Lambda calls: a request of the HTTP API, a direct invocation, an event of EventBridge."""
    if not _opened:
        _opened.append(ApiFunction(os.environ, Path(tempfile.mkdtemp(prefix="oncegate-"))))
    return _opened[0].answer(event)
