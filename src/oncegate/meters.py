"""Every count of the gateway: a method for each, and one table of their names, labels and help texts.

Counting is a call with its values, so a count that the table lacks cannot be made. Of one event loop; nothing here
locks or waits. ``control/metrics.py`` writes the counts for Prometheus.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

Counts = defaultdict[tuple[str, ...], float]
"""Counts by the values of their labels, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Meter:
    """What ``/metrics`` says of one count.

    Attributes:
        help: a sentence without its full stop.
        labels: their names.
    """

    help: str
    labels: tuple[str, ...] = ()


TABLE: Mapping[str, Meter] = {
    "requests": Meter("Requests of viewers, by method and status", ("method", "status")),
    "claims": Meter("Claims that were asked of the ledger, by decision", ("decision",)),
    "previews": Meter("Previews and prefetches that got a page in place of the object", ("why",)),
    "bytes": Meter("Bytes of bodies from and to viewers", ("direction",)),
    "ledger_calls": Meter("Calls of the ledger, by what was asked and what came of it", ("call", "outcome")),
    "ledger_seconds": Meter("Seconds that calls of the ledger took, added up", ("call",)),
    "ledger_retries": Meter(
        "Calls of the ledger that were repeated because their answer was lost or the server was busy"
    ),
    "store_calls": Meter("Calls of the store, by what was asked and what came of it", ("call", "outcome")),
    "store_seconds": Meter("Seconds that calls of the store took, added up; of a read until its first byte", ("call",)),
}
"""Counters by name, without the prefix ``oncegate_`` and the suffix ``_total``."""

BATCH_SIZE_NAME = "ledger_batch_size"
BATCH_SIZE = Meter("Callers that shared one statement, script or transaction of the ledger", ("call",))
"""The one histogram; ledgers keep it themselves (``ledgers/batching/sizes.py``)."""


class Meters:
    """The counts of one process, from its start."""

    __slots__ = (
        "_bytes", "_claims", "_counts", "_ledger_calls", "_ledger_retries", "_ledger_seconds", "_previews", "_requests",
        "_store_calls", "_store_seconds",
    )  # fmt: skip

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {name: defaultdict(float) for name in TABLE}
        self._requests = self._counts["requests"]
        self._claims = self._counts["claims"]
        self._previews = self._counts["previews"]
        self._bytes = self._counts["bytes"]
        self._ledger_calls = self._counts["ledger_calls"]
        self._ledger_seconds = self._counts["ledger_seconds"]
        self._ledger_retries = self._counts["ledger_retries"]
        self._store_calls = self._counts["store_calls"]
        self._store_seconds = self._counts["store_seconds"]
        # Prometheus sees a rise only between two values: a count without labels is exported from the start, or an
        # alert on its rate would miss the first event.
        self._ledger_retries[()] = 0.0

    def request(self, method: str, status: int, *, received_bytes: int, sent_bytes: int) -> None:
        """Count a request at its end.

        Args:
            method: one that the gateway knows, or ``other``: a viewer must not be able to invent labels.
            status: of the answer; 0 where the viewer left before it began.
            received_bytes: of the request's body.
            sent_bytes: of the answer's body.
        """
        self._requests[method, str(status)] += 1
        self._bytes["in",] += received_bytes
        self._bytes["out",] += sent_bytes

    def claim(self, decision: str) -> None:
        """Count a claim by what was decided: a value of ``uses.use.Kind``."""
        self._claims[decision,] += 1

    def preview(self, why: str) -> None:
        """Count a page that was sent in place of an object, by what gave the request away."""
        self._previews[why,] += 1

    def ledger_call(self, call: str, outcome: str, seconds: float) -> None:
        """Count a call of the ledger: ``insert``, ``replace`` or ``read``, its outcome, and how long it took."""
        self._ledger_calls[call, outcome] += 1
        self._ledger_seconds[call,] += seconds

    def ledger_retry(self) -> None:
        """Count a call of the ledger that is repeated."""
        self._ledger_retries[()] += 1

    def store_call(self, call: str, outcome: str, seconds: float) -> None:
        """Count a call of the store: its method, its outcome (``done`` or the fault), and how long it took."""
        self._store_calls[call, outcome] += 1
        self._store_seconds[call,] += seconds

    def store_broke(self, call: str, fault: str) -> None:
        """Count a fault of a call that was counted as done before: a read that broke after its first byte."""
        self._store_calls[call, fault] += 1

    def of(self, name: str) -> Mapping[tuple[str, ...], float]:
        """Return the counts of one name of ``TABLE`` by the values of its labels; empty if it was never counted."""
        return self._counts[name]
