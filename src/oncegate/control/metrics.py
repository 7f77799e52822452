"""What the gateway counts, in Prometheus' text format.

Written with ``prometheus-client`` for its escaping and its checks; its global registry, threads and process metrics are
not used. The counts themselves are plain numbers in ``meters.py``, which knows nothing of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from oncegate import __version__
from oncegate.control.parts import ControlParts
from oncegate.ledgers.batching.sizes import CountsBatches
from oncegate.ledgers.protocol import CountsRepeats
from oncegate.meters import BATCH_SIZE, HISTOGRAMS, TABLE, Histogram, Meters

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Reader(Collector):
    """Reads the counts each time that the registry asks."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    def collect(self) -> Iterable[Metric]:
        """Yield every metric with its present values."""
        info = GaugeMetricFamily("oncegate_build_info", "Always 1; the label is what runs", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        ledger = self._parts.ledger
        yield from _counters(self._parts.meters, repeats=ledger.repeats if isinstance(ledger, CountsRepeats) else 0)
        by_call: Mapping[str, Histogram] = ledger.batch_sizes if isinstance(ledger, CountsBatches) else {}
        yield from _histograms(self._parts.meters, {(call,): sizes for call, sizes in by_call.items()})
        for name, value in sorted(self._parts.gauges().items()):
            yield GaugeMetricFamily(f"oncegate_{name}", name.replace("_", " "), value=value)


def _counters(meters: Meters, *, repeats: int) -> Iterable[Metric]:
    """Yield the counts, in order of their names; calls that the ledger repeated by itself count as retries too."""
    for name, meter in sorted(TABLE.items()):
        family = CounterMetricFamily(f"oncegate_{name}", meter.help, labels=meter.labels)
        more = repeats if name == "ledger_retries" else 0
        for values, count in sorted(meters.of(name).items()):
            family.add_metric(values, count + more)
        if family.samples:
            yield family


def _histograms(meters: Meters, batch_sizes: Mapping[tuple[str, ...], Histogram]) -> Iterable[Metric]:
    """Yield the histograms, in order of their names; those of batches are the ledger's."""
    for name, meter in sorted(HISTOGRAMS.items()):
        family = HistogramMetricFamily(f"oncegate_{name}", meter.help, labels=meter.labels)
        bounds = [*(str(float(bound)) for bound in meter.bounds), "+Inf"]
        found = batch_sizes if name == BATCH_SIZE else meters.histograms(name)
        for values, counted in sorted(found.items(), key=lambda each: each[0]):
            family.add_metric(values, list(zip(bounds, counted.up_to_each(), strict=True)), counted.sum)
        if family.samples:
            yield family


def metrics_text(parts: ControlParts) -> bytes:
    """Return every metric with its present value, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Reader(parts))
    return generate_latest(registry)
