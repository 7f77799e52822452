"""The histogram of batches: what an alarm on a busy ledger stands on."""

from __future__ import annotations

import pytest

from oncegate.ledgers.batching.sizes import BatchSizes
from oncegate.meters import BATCH_SIZE, HISTOGRAMS

BUCKETS = HISTOGRAMS[BATCH_SIZE].bounds


@pytest.mark.parametrize("bound", BUCKETS)
def test_a_bound_is_inclusive(bound: float) -> None:
    """A batch of 64 is under ``le="64"`` and one of 65 is not: one off is easy."""
    sizes = BatchSizes()
    sizes.observe(int(bound))
    sizes.observe(int(bound) + 1)
    place = BUCKETS.index(bound)
    assert sizes.up_to_each()[: place + 1] == [0] * place + [1]
    assert sizes.up_to_each()[place + 1 :] == [2] * (len(BUCKETS) - place)
    assert sizes.sum == 2 * bound + 1


def test_the_largest_batch_is_counted_last() -> None:
    """One far above every bound is in the count of all, or the mean would be wrong."""
    sizes = BatchSizes()
    sizes.observe(100_000)
    assert sizes.up_to_each() == [0] * len(BUCKETS) + [1]
