"""How many callers share one request to a ledger, counted for ``/metrics`` where batches are made.

The size of a batch follows the load by itself (``batcher.py``), so its size tells how near a ledger is to its limit: ones mean that
nobody waits, and batches at ``BATCH_MAX`` that the server is the bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol, runtime_checkable

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds, inclusive: powers of two, so that the place of a size is its number of bits."""


class BatchSizes:
    """A histogram; to observe is two additions per batch, whatever is in it. Of one event loop or thread."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self.asks: int = 0

    def observe(self, size: int) -> None:
        """Count one batch of ``size`` asks, at least one."""
        self._counts[min((size - 1).bit_length(), len(BUCKETS))] += 1
        self.asks += size

    def up_to_each(self) -> Sequence[int]:
        """Return how many batches were of at most so many asks, for each bound, and last how many there were."""
        return list(accumulate(self._counts))


@runtime_checkable
class CountsBatches(Protocol):
    """A ledger that asks its server once for several callers."""

    @property
    def batch_sizes(self) -> Mapping[str, BatchSizes]:
        """The sizes of its batches so far, by what was asked: ``write`` and ``read``."""
        ...
