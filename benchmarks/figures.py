"""Figures: samples by contestant and round, ratios within a round, and how widely they are spread."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Sample = Mapping[str, float]
"""What one turn of one contestant measured, by the name of the metric (with its unit: ``cpu_us``)."""


TRIES = 3
"""Of a turn that got wrong answers: a disk that stands still for seconds makes a gateway say 503, as it must."""


class WrongAnswers(RuntimeError):
    """A server did not answer as it must; its figures would mean nothing."""


class Spread(NamedTuple):
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return shown(self.median)
        return f"{shown(self.median)} ({shown(self.low)} to {shown(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(median(values), min(values), max(values))


def shown(value: float) -> str:
    """Write a number with three digits that count."""
    size = abs(value)
    if size >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3}f}"


@dataclass(frozen=True, slots=True)
class Series:
    """What all contestants measured in all rounds.

    Attributes:
        samples: by contestant, a sample for each round.
    """

    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict[str, Sequence[Sample]])

    def of(self, name: str, metric: str) -> Spread:
        """Return a metric of a contestant."""
        return spread([sample[metric] for sample in self.samples[name]])

    def ratio(self, name: str, to: str, metric: str) -> Spread:
        """Return a metric of a contestant, that of another in the same round = 1."""
        pairs = zip(self.samples[name], self.samples[to], strict=True)
        return spread([ours[metric] / theirs[metric] for ours, theirs in pairs])


def in_turns(ways: Mapping[str, Callable[[int], Sample]], rounds: int, *, is_warm: bool = False) -> Series:
    """Let all contestants take turns, in each round in another order, so that all meet the same machine.

    Args:
        ways: measure one turn of a contestant, given the number of the round; round 0 is for warming up and is not kept.
        rounds: that are kept.
        is_warm: whether there is no round 0, because all have worked before.

    Raises:
        WrongAnswers: a turn got them ``TRIES`` times.
    """
    kept: dict[str, list[Sample]] = {name: [] for name in ways}
    for number in range(1 if is_warm else 0, rounds + 1):
        order = [*ways]
        random.Random(number).shuffle(order)
        for name in order:
            sample = tried(name, ways[name], number)
            if number:
                kept[name].append(sample)
    return Series(kept)


def tried(name: str, way: Callable[[int], T], number: int) -> T:
    """Measure a turn; one that is tried again has a number of its own, and so other links.

    Raises:
        WrongAnswers: it got them ``TRIES`` times.
    """
    for again in range(TRIES - 1):
        try:
            return way(number + 1_000 * again)
        except WrongAnswers as error:
            print(f"-- again, {name}: {error}", file=sys.stderr, flush=True)
    return way(number + 1_000 * TRIES)
