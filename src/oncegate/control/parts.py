"""What the control API is made of; ``service`` puts it together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from oncegate.control.callers import Callers
from oncegate.events import Journal
from oncegate.ledgers.homes import FurtherHomes, HomeLedger
from oncegate.ledgers.protocol import Ledger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.key_group import SigningKey
from oncegate.links.verify import Trust
from oncegate.meters import Meters
from oncegate.settings import Settings
from oncegate.stores.protocol import Store
from oncegate.uses.use import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """Whether a part of the installation can do its work.

    Attributes:
        name: ``ledger``, ``store``, ``keys``.
        is_ready: it can.
        words: what is the matter, for the operator; shown without a token, so it holds no path and no secret.
    """

    name: str
    is_ready: bool
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """Everything that the control API needs.

    Attributes:
        settings: of the configuration.
        callers: who may call.
        ledger: for lists and events, where it can give them.
        runner: over the same ledger, for records.
        born_ms: of the ledger, milliseconds since 1970 UTC; from its ``probe``.
        store: where the objects are.
        trust: whom the viewer believes, now (keys change).
        signer: the key that new CloudFront links are signed with, now; None: there is none.
        journal: for log and events.
        readiness: asks every part whether it is ready.
        meters: counts of the gateway, read at each ``/metrics``.
        gauges: what goes up and down, by name, read at each ``/metrics``.
        clock_s: seconds since 1970 UTC, with their fraction: a ticket's milliseconds come from it, and one that was
            cut to whole seconds may be earlier than the ledger's birth.
        homes: the ledgers of other homes, whose links are found here too.
        random_bytes: draws as many random bytes as asked for.
    """

    settings: Settings
    callers: Callers
    ledger: Ledger
    runner: LedgerRunner
    born_ms: int
    store: Store
    trust: Callable[[], Trust]
    signer: Callable[[], SigningKey | None]
    journal: Journal
    readiness: Callable[[], Awaitable[Sequence[PartState]]]
    meters: Meters = field(default_factory=Meters)
    gauges: Callable[[], Mapping[str, float]] = dict[str, float]
    clock_s: Callable[[], float] = time.time
    homes: FurtherHomes = field(default_factory=FurtherHomes)
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    @property
    def own(self) -> HomeLedger:
        """The installation's own ledger."""
        return HomeLedger(ledger=self.ledger, runner=self.runner, born_ms=self.born_ms)

    @property
    def rules(self) -> Rules:
        """The configured rules of a use."""
        return Rules(resume_window_s=self.settings.links.resume_window_s)

    def now_s(self) -> int:
        """The time, in whole seconds."""
        return int(self.clock_s())
