"""Exact counts of values in bins of a power of two wide: the range grows, and the counts do not depend on the order of what came."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bins on either side of zero. At the power of two that holds the peak, at least half of them are below it.
BINS = 4096
#: The least exponent: below 2^-100 a range carries nothing (`ranges.NEGLIGIBLE`), and FP32 cannot hold a bin's width much longer.
LEAST = -100
#: Values counted at once, so that what is made on the way stays in the cache.
PIECE = 1 << 16
#: Neighbouring values are counted in turns by two histograms: behind a ReLU most are 0, and one counter would wait for itself.
_TURNS = BINS + (2 * BINS + 1) * (np.arange(PIECE, dtype=np.intp) % 2)


@dataclass(eq=False)
class Histogram:
    """Counts by sign and magnitude: `counts[BINS + i]` are the values v with trunc(v / width) = i, where width is 2^exponent / BINS.

    The middle bin is (-width, width), zero in it. Doubling the width joins each pair of bins exactly, since
    trunc(v / 2w) = trunc(trunc(v / w) / 2), so the exponent is that of the largest magnitude and the counts those of all values,
    whatever order they came in and whoever counted them.
    """

    exponent: int = LEAST
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * BINS + 1, np.int64))

    @property
    def width(self) -> float:
        """How wide a bin is."""
        return math.ldexp(1.0, self.exponent) / BINS

    def add(self, values: NDArray[Any], peak: float) -> None:
        """Counts finite FP32 values of any shape, none of them beyond ±`peak`."""
        self.grow(exponent_of(peak))
        inverse = np.float32(1 / self.width)
        flat = values.reshape(-1)
        counts = np.zeros(2 * self.counts.size, np.int64)
        for start in range(0, flat.size, PIECE):
            bins = (flat[start : start + PIECE] * inverse).astype(np.intp)
            bins += _TURNS[: bins.size]
            np.add.at(counts, bins, 1)
        self.counts += counts[: self.counts.size]
        self.counts += counts[self.counts.size :]

    def grow(self, exponent: int) -> None:
        """Widens the range to ±2^exponent where it is narrower."""
        steps = exponent - self.exponent
        if steps <= 0:
            return
        if self.counts.any():
            where = np.arange(-BINS, BINS + 1)
            joined = np.sign(where) * (np.abs(where) >> min(steps, 62))
            counts = np.zeros_like(self.counts)
            np.add.at(counts, joined + BINS, self.counts)
            self.counts = counts
        self.exponent = exponent

    def merge(self, other: Histogram) -> None:
        """Adds what another counted."""
        self.grow(other.exponent)
        widened = Histogram(other.exponent, other.counts)
        widened.grow(self.exponent)
        self.counts = self.counts + widened.counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.exponent == other.exponent and np.array_equal(self.counts, other.counts)

    def side(self, sign: int) -> NDArray[np.int64]:
        """Counts by magnitude of the values with this sign (1 or -1), BINS + 1 of them; those in the middle bin are on neither side."""
        counts = self.counts[BINS:].copy() if sign > 0 else self.counts[BINS::-1].copy()
        counts[0] = 0
        return counts

    def magnitudes(self) -> NDArray[np.int64]:
        """Counts by magnitude of all values, BINS + 1 of them; the first are those of the middle bin."""
        both = self.side(1) + self.side(-1)
        both[0] = self.counts[BINS]
        return both


def exponent_of(peak: float) -> int:
    """The least exponent, from LEAST up, with peak < 2^exponent."""
    return max(math.frexp(peak)[1], LEAST)
