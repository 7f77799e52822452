"""What the gateway counts, in Prometheus' text format.

Written with ``prometheus-client`` for its escaping and its checks; its global registry, threads and process metrics are
not used. The gateway keeps plain counts by name and values of labels, so it knows nothing of this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from oncegate import __version__
from oncegate.control.parts import ControlParts, Meters
from oncegate.ledgers.batching.sizes import BUCKETS, BatchSizes, CountsBatches
from oncegate.ledgers.protocol import CountsRepeats

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_KNOWN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "requests": ("Requests of viewers, by method and status", ("method", "status")),
    "claims": ("Claims that were asked of the ledger, by decision", ("decision",)),
    "previews": ("Previews and prefetches that got a page in place of the object", ("why",)),
    "bytes": ("Bytes of bodies from and to viewers", ("direction",)),
    "ledger_calls": ("Calls of the ledger, by what was asked and what came of it", ("call", "outcome")),
    "ledger_seconds": ("Seconds that calls of the ledger took, added up", ("call",)),
    "ledger_retries": (
        "Calls of the ledger that were repeated because their answer was lost or the server was busy",
        (),
    ),
    "store_calls": ("Calls of the store, by what was asked and what came of it", ("call", "outcome")),
    "store_seconds": ("Seconds that calls of the store took, added up; of a read until its first byte", ("call",)),
}
"""Help text and names of labels; counts of other names come with labels called ``label_1`` and so on."""

_BATCH_SIZE = ("ledger_batch_size", "Callers that shared one statement, script or transaction of the ledger", ("call",))


class Meter(Collector):
    """Reads the counts whenever it is asked."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        """Give what stands now."""
        info = GaugeMetricFamily("oncegate_build_info", "Always 1; the label is what runs", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield from _counters(self._counts())
        if isinstance(self._parts.ledger, CountsBatches):
            yield _histogram(self._parts.ledger.batch_sizes)
        for name, value in sorted(self._parts.gauges().items()):
            yield GaugeMetricFamily(f"oncegate_{name}", name.replace("_", " "), value=value)

    def _counts(self) -> Meters:
        """Give the gateway's counts with the ledger's own among them.

        A count without labels is there from the start: what appears with its first increment has grown by nothing in
        the eyes of Prometheus, and an alarm stays silent.
        """
        counts: defaultdict[tuple[str, ...], float] = defaultdict(float)
        counts.update({(name,): 0.0 for name, (_, labels) in _KNOWN.items() if not labels})
        counts.update(self._parts.meters)
        if isinstance(self._parts.ledger, CountsRepeats):
            counts["ledger_retries",] += self._parts.ledger.repeats
        return counts


def _counters(meters: Meters) -> Iterable[Metric]:
    # a name is grouped whatever number of labels its rows have
    rows: dict[tuple[str, int], list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    for (name, *values), count in meters.items():
        rows[name, len(values)].append((tuple(values), count))
    for (name, size), counted in sorted(rows.items()):
        words, labels = _KNOWN.get(name, (name.replace("_", " "), ()))
        names = labels if len(labels) == size else tuple(f"label_{i + 1}" for i in range(size))
        family = CounterMetricFamily(f"oncegate_{name}", words, labels=names)
        for values, count in sorted(counted):
            family.add_metric(values, count)
        yield family


def _histogram(batch_sizes: Mapping[str, BatchSizes]) -> Metric:
    name, words, labels = _BATCH_SIZE
    family = HistogramMetricFamily(f"oncegate_{name}", words, labels=labels)
    for call, sizes in batch_sizes.items():
        bounds = [*(f"{bound}.0" for bound in BUCKETS), "+Inf"]
        family.add_metric([call], list(zip(bounds, sizes.up_to_each(), strict=True)), sizes.asks)
    return family


def metrics_text(parts: ControlParts) -> bytes:
    """Write every metric, as of now."""
    registry = CollectorRegistry()
    registry.register(Meter(parts))
    return generate_latest(registry)
