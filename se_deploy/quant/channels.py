"""What is remembered of each channel of a tensor: its range, and coarse exact counts of magnitudes, so that the histogram of the
tensor with its channels rescaled follows without another look at the images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.quant.histogram import BINS, LEAST, Histogram, exponent_of
from se_deploy.quant.observe import Observer

#: Bins of magnitude for each channel.
COARSE = 256
#: Of a channel's map so many places or more are counted, on an even grid; the range is that of all.
PLACES = 256
#: A channel is taken to reach at least this share of the highest one, so that one that was dead is not blown up.
FLOOR = 2.0**-10


def _none(kind: type[np.generic], *shape: int) -> Any:
    return field(default_factory=lambda: np.zeros(shape, kind))


@dataclass(eq=False)
class Channels:
    """`counts[c, i]` are the counted values v of channel c with trunc(|v| / width) = i, where width is 2^exponents[c] / COARSE.

    As in `Histogram` a range that grows joins bins in pairs, so what is here depends on no order. Values that are not finite do not count.
    """

    low: NDArray[np.float32] = _none(np.float32, 0)
    high: NDArray[np.float32] = _none(np.float32, 0)
    exponents: NDArray[np.int64] = _none(np.int64, 0)
    counts: NDArray[np.int64] = _none(np.int64, 0, COARSE)

    def update(self, values: NDArray[Any]) -> tuple[float, float] | None:
        """Takes in a batch (N, channels, *spatial); returns its range, None where it has none or holds what is not finite."""
        if not values.size:
            return None
        rows = _rows(values)
        low, high = rows.min(1), rows.max(1)
        least, most = float(low.min()), float(high.max())
        span: tuple[float, float] | None = (least, most)
        if not (math.isfinite(least) and math.isfinite(most)):
            values = np.where(np.isfinite(values), values, 0)
            rows = _rows(values)
            low, high, span = rows.min(1), rows.max(1), None
        self._take(low, high)
        rows = _rows(_grid(values))
        bins = np.abs(rows) * np.ldexp(np.float32(COARSE), -self.exponents).astype(np.float32)[:, None]
        places = bins.astype(np.intp) + COARSE * np.arange(len(rows))[:, None]
        np.add.at(self.counts.reshape(-1), places.ravel(), 1)
        return span

    def merge(self, other: Channels) -> None:
        """Adds what another saw of the same tensor."""
        if not len(other.low):
            return
        self._take(other.low, other.high)
        widened = Channels(other.low, other.high, other.exponents.copy(), other.counts.copy())
        widened._grow(self.exponents)
        self.counts = self.counts + widened.counts

    def _take(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        """Widens the ranges."""
        if not len(self.low):
            self.low, self.high = low.copy(), high.copy()
            self.exponents = np.full(len(low), LEAST, np.int64)
            self.counts = np.zeros((len(low), COARSE), np.int64)
        else:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self._grow(np.maximum(np.frexp(np.maximum(-self.low, self.high))[1], LEAST))

    def _grow(self, exponents: NDArray[Any]) -> None:
        """Widens bins to these exponents where they are narrower."""
        steps = exponents - self.exponents
        for channel in np.flatnonzero(steps > 0):
            if self.counts[channel].any():
                joined = np.arange(COARSE) >> min(int(steps[channel]), 62)
                self.counts[channel] = np.bincount(joined, self.counts[channel], COARSE).astype(np.int64)
        self.exponents = np.maximum(self.exponents, exponents)

    @property
    def peaks(self) -> NDArray[np.float64]:
        """The largest magnitude of each channel."""
        return np.maximum(-self.low, self.high).astype(np.float64)

    def rescaled(self, factors: NDArray[Any]) -> Observer:
        """What an observer of the tensor with channel c divided by `factors[c]` would have seen, up to the width of a bin.

        Signs are not kept: all counts are on the positive side.
        """
        low, high = float((self.low / factors).min()), float((self.high / factors).max())
        histogram = Histogram(exponent_of(max(-low, high)))
        middle = (np.arange(COARSE) + 0.5) * np.ldexp(1.0 / COARSE, self.exponents)[:, None] / factors[:, None]
        places = np.minimum((middle / histogram.width).astype(np.intp), BINS - 1)
        places[:, 0] = 0  # zeros, most of them: exact in any grid
        histogram.counts[BINS:-1] = np.bincount(places.ravel(), self.counts.ravel(), BINS).astype(np.int64)
        return Observer(low, high, 0, histogram)


def _rows(values: NDArray[Any]) -> NDArray[np.float32]:
    """(channels, everything else)."""
    return np.ascontiguousarray(np.moveaxis(values, 1, 0).reshape(values.shape[1], -1), np.float32)


def _grid(values: NDArray[Any]) -> NDArray[Any]:
    """The same at every so manieth place of the last two axes."""
    if values.ndim < 4:
        return values
    step = max(1, int(np.sqrt(np.prod(values.shape[2:]) / PLACES)))
    return values[..., ::step, ::step]


def equalising(seen: Channels, power: float) -> NDArray[np.float64]:
    """Factors (channels,) that make the channels' peaks alike: peak^power, around 1, to four digits.

    With power 1 every channel reaches the geometric mean of the peaks; with 0.5 they are half as many octaves apart as they were.
    """
    peaks = np.maximum(seen.peaks, FLOOR * seen.peaks.max())
    octaves = np.log2(np.maximum(peaks, 2.0**LEAST))
    return np.array([float(f"{factor:.4g}") for factor in 2 ** (power * (octaves - octaves.mean()))])
