"""Every count of the gateway: a method for each, and two tables of their names, labels and help texts.

Counting is a call with its values, so a count that the table lacks cannot be made. Of one event loop; nothing here
locks or waits. ``control/metrics.py`` writes the counts for Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

Counts = defaultdict[tuple[str, ...], float]
"""Counts by the values of their labels, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Meter:
    """What ``/metrics`` says of one count.

    Attributes:
        help: a sentence without its full stop.
        labels: their names.
        bounds: of a histogram, ascending and inclusive; empty for a counter.
    """

    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


TABLE: Mapping[str, Meter] = {
    "requests": Meter("Requests of viewers, by method and status", ("method", "status")),
    "claims": Meter("Claims that were asked of the ledger, by decision", ("decision",)),
    "previews": Meter("Previews and prefetches that got a page in place of the object", ("why",)),
    "bytes": Meter("Bytes of bodies from and to viewers", ("direction",)),
    "ledger_calls": Meter("Calls of the ledger, by what was asked and what came of it", ("call", "outcome")),
    "ledger_retries": Meter(
        "Calls of the ledger that were repeated because their answer was lost or the server was busy"
    ),
    "store_calls": Meter("Calls of the store, by what was asked and what came of it", ("call", "outcome")),
}
"""Counters by name, without the prefix ``oncegate_`` and the suffix ``_total``."""

BATCH_SIZE = "ledger_batch_size"
"""The histogram that ledgers keep themselves (``ledgers/batching/sizes.py``)."""
_CALL_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REQUEST_BOUNDS_S = (*_CALL_BOUNDS_S, 30, 60, 300, 900, 3_600)

HISTOGRAMS: Mapping[str, Meter] = {
    "request_seconds": Meter(
        "Seconds from a request's head until the last byte of its answer was handed to the system, by method and kind of"
        " answer",
        ("method", "answer"),
        _REQUEST_BOUNDS_S,
    ),
    "first_byte_seconds": Meter(
        "Seconds from a request's head until the first byte of its answer, by method and kind of answer",
        ("method", "answer"),
        _CALL_BOUNDS_S,
    ),
    "ledger_seconds": Meter("Seconds that a call of the ledger took", ("call",), _CALL_BOUNDS_S),
    "store_seconds": Meter(
        "Seconds that a call of the store took; of a read until its first byte", ("call",), _CALL_BOUNDS_S
    ),
    BATCH_SIZE: Meter(
        "Callers that shared one statement, script or transaction of the ledger",
        ("call",),
        (1, 2, 4, 8, 16, 32, 64, 128, 256),
    ),
}
"""Histograms by name, without the prefix ``oncegate_``."""
_ANSWERS = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Kinds of answer, by the first digit of their status."""


class Histogram:
    """How many values lie between which bounds. Of one event loop or thread."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def up_to_each(self) -> Sequence[int]:
        """Return how many values were at most each bound, and last how many there were."""
        return list(accumulate(self._counts))


class Meters:
    """The counts of one process, from its start."""

    __slots__ = (
        "_bytes", "_claims", "_counts", "_first_byte_seconds", "_histograms", "_ledger_calls", "_ledger_retries",
        "_ledger_seconds", "_previews", "_request_seconds", "_requests", "_store_calls", "_store_seconds",
    )  # fmt: skip

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {name: defaultdict(float) for name in TABLE}
        self._requests = self._counts["requests"]
        self._claims = self._counts["claims"]
        self._previews = self._counts["previews"]
        self._bytes = self._counts["bytes"]
        self._ledger_calls = self._counts["ledger_calls"]
        self._ledger_retries = self._counts["ledger_retries"]
        self._store_calls = self._counts["store_calls"]
        self._histograms: dict[str, defaultdict[tuple[str, ...], Histogram]] = {
            name: defaultdict(partial(Histogram, meter.bounds)) for name, meter in HISTOGRAMS.items()
        }
        self._request_seconds = self._histograms["request_seconds"]
        self._first_byte_seconds = self._histograms["first_byte_seconds"]
        self._ledger_seconds = self._histograms["ledger_seconds"]
        self._store_seconds = self._histograms["store_seconds"]
        # Prometheus sees a rise only between two values: a count without labels is exported from the start, or an
        # alert on its rate would miss the first event.
        self._ledger_retries[()] = 0.0

    def request(
        self,
        method: str,
        status: int,
        *,
        received_bytes: int,
        sent_bytes: int,
        seconds: float,
        first_byte_seconds: float | None,
    ) -> None:
        """Count a request at its end.

        Args:
            method: one that the gateway knows, or ``other``: a viewer must not be able to invent labels.
            status: of the answer; 0 where the viewer left before it began.
            received_bytes: of the request's body.
            sent_bytes: of the answer's body.
            seconds: from its head to its end.
            first_byte_seconds: from its head to the first byte of the answer; None where there was none.
        """
        kind = method, _ANSWERS[status // 100]
        self._request_seconds[kind].observe(seconds)
        if first_byte_seconds is not None:
            self._first_byte_seconds[kind].observe(first_byte_seconds)
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
        self._ledger_seconds[call,].observe(seconds)

    def ledger_retry(self) -> None:
        """Count a call of the ledger that is repeated."""
        self._ledger_retries[()] += 1

    def store_call(self, call: str, outcome: str, seconds: float) -> None:
        """Count a call of the store: its method, its outcome (``done`` or the fault), and how long it took."""
        self._store_calls[call, outcome] += 1
        self._store_seconds[call,].observe(seconds)

    def store_broke(self, call: str, fault: str) -> None:
        """Count a fault of a call that was counted as done before: a read that broke after its first byte."""
        self._store_calls[call, fault] += 1

    def of(self, name: str) -> Mapping[tuple[str, ...], float]:
        """Return the counts of one name of ``TABLE`` by the values of its labels; empty if it was never counted."""
        return self._counts[name]

    def histograms(self, name: str) -> Mapping[tuple[str, ...], Histogram]:
        """Return the histograms of one name of ``HISTOGRAMS`` by the values of its labels."""
        return self._histograms[name]
