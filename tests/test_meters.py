"""The counts: each method counts under names and labels of the one table, and nothing else can be counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oncegate.links.refusal import TABLE as REFUSALS
from oncegate.meters import BATCH_SIZE, HISTOGRAMS, TABLE, Histogram, Meters

STATUSES = sorted({row.status for row in REFUSALS.values()})
CALLS: dict[str, Callable[[Meters], None]] = {
    "request": lambda meters: meters.request(
        "GET", 200, received_bytes=1, sent_bytes=2, seconds=0.5, first_byte_seconds=0.25
    ),
    "claim": lambda meters: meters.claim("admit"),
    "preview": lambda meters: meters.preview("agent"),
    "ledger_call": lambda meters: meters.ledger_call("insert", "done", 0.5),
    "ledger_retry": lambda meters: meters.ledger_retry(),
    "store_call": lambda meters: meters.store_call("look", "done", 0.5),
    "store_broke": lambda meters: meters.store_broke("read", "StoreBusy"),
}


def test_every_count_has_as_many_values_as_labels() -> None:
    """A value too few or too many would be an error at the next scrape, and all metrics would be gone with it."""
    methods = {name for name in vars(Meters) if not name.startswith("_")} - {"of", "histograms"}
    assert methods == CALLS.keys()
    meters = Meters()
    for call in CALLS.values():
        call(meters)
    for name, meter in TABLE.items():
        assert meters.of(name), f"nothing counts {name}"
        assert {len(values) for values in meters.of(name)} == {len(meter.labels)}, name
    for name, meter in HISTOGRAMS.items():
        if name != BATCH_SIZE:
            assert meters.histograms(name), f"nothing is observed in {name}"
            assert {len(values) for values in meters.histograms(name)} == {len(meter.labels)}, name


def test_calls_and_seconds_add_up() -> None:
    """A count that is set where it should grow shows the last request alone."""
    meters = Meters()
    for _ in range(2):
        for call in CALLS.values():
            call(meters)
    assert meters.of("requests") == {("GET", "200"): 2}
    assert meters.of("bytes") == {("in",): 2, ("out",): 4}
    assert meters.of("ledger_calls") == {("insert", "done"): 2}
    assert meters.histograms("ledger_seconds")["insert",].sum == 1.0
    assert meters.histograms("store_seconds")["look",].sum == 1.0
    assert meters.histograms("request_seconds")["GET", "2xx"].sum == 1.0
    assert meters.histograms("first_byte_seconds")["GET", "2xx"].sum == 0.5
    assert meters.of("ledger_retries") == {(): 2}
    assert meters.of("store_calls") == {("look", "done"): 2, ("read", "StoreBusy"): 2}


def test_a_misspelt_count_is_an_error() -> None:
    """As a tuple it was a new metric that nobody graphed."""
    with pytest.raises(AttributeError):
        Meters().clam("admit")  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(KeyError):
        Meters().of("clams")


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_a_bound_is_inclusive_and_the_last_one_counts_all(name: str) -> None:
    """A call of exactly half a second is under ``le="0.5"`` and a longer one is not; one off is easy."""
    bounds = HISTOGRAMS[name].bounds
    assert list(bounds) == sorted(set(bounds))
    for place, bound in enumerate(bounds):
        histogram = Histogram(bounds)
        for value in (bound, bound * 1.0001, bounds[-1] * 10):
            histogram.observe(value)
        below, at, above = [0] * place, [1], [2] * (len(bounds) - place)
        above[-1] += 1
        assert histogram.up_to_each() == below + at + above
        assert histogram.sum == pytest.approx(bound * 2.0001 + bounds[-1] * 10)


def test_a_request_without_an_answer_has_no_first_byte() -> None:
    """A viewer who left before it would else count as served at once."""
    meters = Meters()
    meters.request("GET", 0, received_bytes=0, sent_bytes=0, seconds=2.0, first_byte_seconds=None)
    assert meters.histograms("request_seconds")["GET", "none"].sum == 2.0
    assert not meters.histograms("first_byte_seconds")


@pytest.mark.parametrize("status", [*STATUSES, 0, 200, 206, 304])
def test_every_status_has_a_kind_of_answer(status: int) -> None:
    """A status without one would end its request with an error, after the answer."""
    meters = Meters()
    meters.request("GET", status, received_bytes=0, sent_bytes=0, seconds=0.0, first_byte_seconds=0.0)
    ((_, answer),) = meters.histograms("request_seconds")
    assert answer == (f"{status}"[0] + "xx" if status else "none")
