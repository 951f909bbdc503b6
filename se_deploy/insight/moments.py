"""What is remembered of a block's gates while images stream by: moments per class and channel, and histograms; never the gates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: Bins of a histogram over the gate's whole range: quantiles are exact to a thousandth of it.
BINS = 1000


@dataclass
class Moments:
    """Of one block with C channels, over K classes. Memory depends on C, K and BINS alone, not on the number of images.

    Means and sums of squared deviations are updated batch by batch (Chan, Golub and LeVeque, "Algorithms for computing the sample
    variance", 1983, equation 2.1), so no precision is lost however close a gate stays to its mean.
    """

    channels: int
    classes: int
    #: The lowest and the highest value that the gate can take.
    range: tuple[float, float] = (0.0, 1.0)
    #: (K,) images; (K, C) mean and sum of squared deviations.
    count: NDArray[np.int64] = field(init=False)
    mean: Float = field(init=False)
    squares: Float = field(init=False)
    #: (C,) extremes of the gate and of what it is computed from, the pooled map.
    low: Float = field(init=False)
    high: Float = field(init=False)
    pooled_low: Float = field(init=False)
    pooled_high: Float = field(init=False)
    pooled_sum: Float = field(init=False)
    #: (C, BINS) over all images; (K, BINS) over all channels.
    by_channel: NDArray[np.int32] = field(init=False, repr=False)
    by_class: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = (self.classes, self.channels)
        self.count = np.zeros(self.classes, np.int64)
        self.mean, self.squares = np.zeros(shape), np.zeros(shape)
        self.low, self.pooled_low = np.full(self.channels, np.inf), np.full(self.channels, np.inf)
        self.high, self.pooled_high = np.full(self.channels, -np.inf), np.full(self.channels, -np.inf)
        self.pooled_sum = np.zeros(self.channels)
        self.by_channel = np.zeros((self.channels, BINS), np.int32)
        self.by_class = np.zeros((self.classes, BINS), np.int64)

    def add(self, gates: NDArray[np.float32], pooled: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """One batch: gates and pooled maps (N, C), class indices (N,)."""
        values = gates.astype(np.float64)
        self.low, self.high = np.minimum(self.low, values.min(0)), np.maximum(self.high, values.max(0))
        self.pooled_low, self.pooled_high = np.minimum(self.pooled_low, pooled.min(0)), np.maximum(self.pooled_high, pooled.max(0))
        self.pooled_sum += pooled.sum(0, dtype=np.float64)
        bins = self._bins(values)
        every = np.arange(self.channels)
        for row in bins:  # one image meets a channel once, so that no index comes twice
            self.by_channel[every, row] += 1
        for label in np.unique(labels):
            chosen = labels == label
            self._merge(int(label), values[chosen])
            self.by_class[label] += np.bincount(bins[chosen].reshape(-1), minlength=BINS)

    def _bins(self, values: Float) -> NDArray[np.int64]:
        low, high = self.range
        scaled = (values - low) / (high - low) * BINS
        return np.clip(np.nan_to_num(scaled), 0, BINS - 1).astype(np.int64)

    def _merge(self, label: int, values: Float) -> None:
        old, new = int(self.count[label]), len(values)
        mean = values.mean(0)
        gap = mean - self.mean[label]
        self.squares[label] += np.square(values - mean).sum(0) + np.square(gap) * old * new / (old + new)
        self.mean[label] += gap * new / (old + new)
        self.count[label] += new

    @property
    def images(self) -> int:
        """All that were added."""
        return int(self.count.sum())

    def overall(self) -> Float:
        """(C,) means over all images."""
        return np.asarray((self.count[:, None] * self.mean).sum(0) / self.images)

    def within(self) -> Float:
        """(C,) variance of the gate around its class's mean."""
        return np.asarray(self.squares.sum(0) / self.images)

    def between(self) -> Float:
        """(C,) variance of the class means around the mean over all images."""
        return np.asarray((self.count[:, None] * np.square(self.mean - self.overall())).sum(0) / self.images)

    def total(self) -> Float:
        """(C,) variance; within + between."""
        return self.within() + self.between()

    def channel_quantiles(self, shares: tuple[float, ...]) -> Float:
        """(len(shares), C)."""
        return quantiles(self.by_channel, shares, self.range, self.low[:, None], self.high[:, None])

    def class_quantiles(self, shares: tuple[float, ...]) -> Float:
        """(len(shares), K), over all channels; NaN for a class without images."""
        return quantiles(self.by_class, shares, self.range, self.low.min(), self.high.max())

    def block_quantiles(self, shares: tuple[float, ...]) -> Float:
        """(len(shares),), over all images and channels."""
        return quantiles(self.by_class.sum(0, keepdims=True), shares, self.range, self.low.min(), self.high.max())[:, 0]


def quantiles(
    histograms: NDArray[np.integer], shares: tuple[float, ...], bounds: tuple[float, float], low: Float | float, high: Float | float
) -> Float:
    """(len(shares), rows) of histograms (rows, BINS) over `bounds`, linear inside a bin, never beyond what was seen (low, high)."""
    sums = histograms.cumsum(1, dtype=np.int64)
    counts = sums[:, -1:].astype(np.float64)
    width = (bounds[1] - bounds[0]) / BINS
    rows = np.arange(len(histograms))
    made = []
    for share in shares:
        wanted = np.maximum(share * counts, 1)
        place = np.minimum((sums < wanted).sum(1), BINS - 1)
        inside = np.maximum(histograms[rows, place], 1)
        before = sums[rows, place] - histograms[rows, place]
        value = bounds[0] + width * (place + np.clip((wanted[:, 0] - before) / inside, 0, 1))
        value = np.clip(value, np.reshape(low, -1), np.reshape(high, -1))
        made.append(np.where(counts[:, 0] > 0, value, np.nan))
    return np.stack(made)
