"""How many callers share one request to a ledger, counted for ``/metrics`` where batches are made.

The size of a batch follows the load by itself (``batcher.py``), so its size tells how near a ledger is to its limit: ones mean that
nobody waits, and batches at ``BATCH_MAX`` that the server is the bottleneck.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from oncegate.meters import BATCH_SIZE, HISTOGRAMS, Histogram


class BatchSizes(Histogram):
    """A histogram of the sizes of batches."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(HISTOGRAMS[BATCH_SIZE].bounds)


@runtime_checkable
class CountsBatches(Protocol):
    """A ledger that asks its server once for several callers."""

    @property
    def batch_sizes(self) -> Mapping[str, BatchSizes]:
        """The sizes of its batches so far, by what was asked: ``write`` and ``read``."""
        ...
