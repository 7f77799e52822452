"""The counts: each method counts under names and labels of the one table, and nothing else can be counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oncegate.meters import TABLE, Meters

CALLS: dict[str, Callable[[Meters], None]] = {
    "request": lambda meters: meters.request("GET", 200, received_bytes=1, sent_bytes=2),
    "claim": lambda meters: meters.claim("admit"),
    "preview": lambda meters: meters.preview("agent"),
    "ledger_call": lambda meters: meters.ledger_call("insert", "done", 0.5),
    "ledger_retry": lambda meters: meters.ledger_retry(),
    "store_call": lambda meters: meters.store_call("look", "done", 0.5),
    "store_broke": lambda meters: meters.store_broke("read", "StoreBusy"),
}


def test_every_count_has_as_many_values_as_labels() -> None:
    """A value too few or too many would be an error at the next scrape, and all metrics would be gone with it."""
    methods = {name for name in vars(Meters) if not name.startswith("_")} - {"of"}
    assert methods == CALLS.keys()
    meters = Meters()
    for call in CALLS.values():
        call(meters)
    for name, meter in TABLE.items():
        assert meters.of(name), f"nothing counts {name}"
        assert {len(values) for values in meters.of(name)} == {len(meter.labels)}, name


def test_calls_and_seconds_add_up() -> None:
    """A count that is set where it should grow shows the last request alone."""
    meters = Meters()
    for _ in range(2):
        for call in CALLS.values():
            call(meters)
    assert meters.of("requests") == {("GET", "200"): 2}
    assert meters.of("bytes") == {("in",): 2, ("out",): 4}
    assert meters.of("ledger_calls") == {("insert", "done"): 2}
    assert meters.of("ledger_seconds") == {("insert",): 1.0}
    assert meters.of("store_seconds") == {("look",): 1.0}
    assert meters.of("ledger_retries") == {(): 2}
    assert meters.of("store_calls") == {("look", "done"): 2, ("read", "StoreBusy"): 2}


def test_a_misspelt_count_is_an_error() -> None:
    """As a tuple it was a new metric that nobody graphed."""
    with pytest.raises(AttributeError):
        Meters().clam("admit")  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(KeyError):
        Meters().of("clams")
