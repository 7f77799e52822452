"""The histogram of batches: what an alarm on a busy ledger stands on."""

from __future__ import annotations

import pytest

from oncegate.ledgers.batching.sizes import BUCKETS, BatchSizes


@pytest.mark.parametrize("bound", BUCKETS)
def test_a_bound_is_inclusive(bound: int) -> None:
    """A batch of 64 is under ``le="64"`` and one of 65 is not: the place is computed from bits, one off is easy."""
    sizes = BatchSizes()
    sizes.observe(bound)
    sizes.observe(bound + 1)
    place = BUCKETS.index(bound)
    assert sizes.up_to_each()[: place + 1] == [0] * place + [1]
    assert sizes.up_to_each()[place + 1 :] == [2] * (len(BUCKETS) - place)
    assert sizes.asks == 2 * bound + 1


def test_the_largest_batch_is_counted_last() -> None:
    """One far above every bound is in the count of all, or the mean would be wrong."""
    sizes = BatchSizes()
    sizes.observe(100_000)
    assert sizes.up_to_each() == [0] * len(BUCKETS) + [1]
