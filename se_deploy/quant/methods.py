"""How much of a tensor's range a scale keeps: a bound on |x| beyond which values are clipped, from the counts alone.

Errors are those of the symmetric int8 grid. A bound of its own for the unsigned grid, which has finer steps where a tensor has one sign,
makes less of an error on each tensor and more at the output (0.15 dB on the demo's network): one scale serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from se_deploy.quant.histogram import BINS
from se_deploy.quant.observe import Observer

Bounds = NDArray[np.float64]

#: The share of values that `percentile` keeps.
KEPT = 0.9999
#: Levels of magnitude in int8, and the bins that `entropy` looks at between two bounds that it tries.
LEVELS, STRIDE = 128, 16
#: `auto` clips only where that lowers the squared error by more than this share: what was not seen may lie beyond.
GAIN = 0.01
#: A bin other than zero's with this share of the values is one that comes again and again; how much wider a bound may become for it, and
#: how many are tried.
OFTEN, WIDER, TRIED = 0.05, 1.08, 65
#: A value this share of a step from the grid is on it: bins tell no more.
NEAR = 0.05


def minmax(seen: Observer) -> float:
    """All of the range."""
    return max(-seen.min, seen.max)


def percentile(seen: Observer) -> float:
    """The upper edge of the bin below which lie 99.99 % of the magnitudes."""
    counts = np.cumsum(seen.histogram.magnitudes())
    edge = int(np.searchsorted(counts, KEPT * counts[-1])) + 1
    return min(edge * seen.histogram.width, minmax(seen))


def mse(seen: Observer) -> float:
    """The bound of the least squared quantization error: a bin's edge, or all of the range."""
    peak = minmax(seen)
    edges = np.arange(1, BINS + 1) * seen.histogram.width
    bounds = np.append(edges[edges < peak], peak)
    errors = error(seen, bounds)
    return float(bounds[len(errors) - 1 - int(np.argmin(errors[::-1]))])  # of equals the widest


def entropy(seen: Observer) -> float:
    """The bound of the least Kullback-Leibler divergence from the clipped values to the quantized ones (Migacz, GTC 2017)."""
    counts = seen.histogram.magnitudes()[:BINS].astype(np.float64)
    counts[0] = 0  # zeros are exact in any grid, and would drown the rest
    used = int(counts.nonzero()[0].max(initial=0)) + 1
    best, bound = np.inf, minmax(seen)
    if used <= LEVELS:
        return bound
    for kept in range(LEVELS, used, STRIDE):
        divergence = _divergence(counts, kept)
        if divergence < best:
            best, bound = divergence, kept * seen.histogram.width
    return bound if best < _divergence(counts, used) else minmax(seen)


def _divergence(counts: Bounds, kept: int) -> float:
    """Between the counts with what is beyond `kept` bins in the last, and the same spread evenly over the bins of each level."""
    clipped = counts[:kept].copy()
    clipped[-1] += counts[kept:].sum()
    level = np.arange(kept) * LEVELS // kept
    there = counts[:kept] > 0
    full = np.bincount(level, there, LEVELS)
    spread = np.where(there, (np.bincount(level, counts[:kept], LEVELS) / np.maximum(full, 1))[level], 0)
    if not spread.sum():
        return float("inf")
    p, q = clipped / clipped.sum(), spread / spread.sum()
    known = (p > 0) & (q > 0)
    lost = p[(p > 0) & (q == 0)].sum()  # clipped mass in a bin that had none: as if q were tiny there
    return float((p[known] * np.log(p[known] / q[known])).sum() + lost * np.log(1e9))


def auto(seen: Observer) -> tuple[str, float]:
    """The method of the least squared error on this tensor's own values; a wider bound where it is within GAIN of that.

    Entropy is not among them: that it tries to keep the information does not excuse a larger error, and it takes longer than all others.
    """
    bounds = {name: find(seen) for name, find in METHODS.items() if name != "entropy"}
    errors = dict(zip(bounds, error(seen, np.array(list(bounds.values()))), strict=True))
    enough = min(errors.values()) * (1 + GAIN)
    name = max((name for name in bounds if errors[name] <= enough), key=lambda name: bounds[name])
    return name, aligned(seen, bounds[name])


def aligned(seen: Observer, bound: float) -> float:
    """The bound, or a slightly wider one whose grid meets the values that a tensor has again and again.

    A page's paper or a black border is one value in a large part of the input. Off the grid it is rounded the same way everywhere, an error
    that no sum averages out.
    """
    where = np.arange(-BINS, BINS + 1)
    centres = (where + 0.5 * np.sign(where)) * seen.histogram.width
    counts = np.where(where == 0, 0, seen.histogram.counts)
    often = counts > OFTEN * seen.histogram.counts.sum()
    if not often.any():
        return bound
    steps = bound * np.linspace(1, WIDER, TRIED) / 127
    values, weights = np.clip(centres[often], seen.min, seen.max)[:, None], counts[often][:, None]
    off = np.square(values / steps - np.clip(np.rint(values / steps), -128, 127)) * np.square(steps)
    errors = (off * weights).sum(0)
    near = np.square(NEAR * steps[0]) * weights.sum()
    return bound if errors[0] <= near or errors.min() > errors[0] / 2 else float(steps[int(np.argmin(errors))] * 127)


METHODS: dict[str, Callable[[Observer], float]] = {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}
NAMES = ("auto", *METHODS)


def bound(seen: Observer, method: str) -> tuple[str, float]:
    """The name of the method that was taken, and its bound on |x|. The tensor must have finite values that are not all zero."""
    return auto(seen) if method == "auto" else (method, METHODS[method](seen))


def error(seen: Observer, bounds: Bounds) -> Bounds:
    """The summed squared error of quantizing what was seen to int8, for each bound.

    Rounding costs s²/12 inside the bound, the distance to it beyond.
    Magnitudes below half a step become zero and cost their square. Values in the middle bin cost nothing.
    """
    steps, reach = bounds / 127, {1: bounds, -1: bounds * (128 / 127)}
    sides = (_one_side(seen.histogram.side(sign), seen.histogram.width, limit, steps) for sign, limit in reach.items())
    return sum(sides, np.zeros_like(bounds))


def _one_side(counts: NDArray[np.int64], width: float, limits: Bounds, steps: Bounds) -> Bounds:
    """Errors of the values of one sign, by sums that run over the bins once, whatever the number of bounds."""
    centres = (np.arange(len(counts)) + 0.5) * width
    n, s, q = (_running(counts * power) for power in (1.0, centres, centres**2))
    first = np.clip(np.rint(steps / (2 * width)), 0, len(counts)).astype(np.intp)
    last = np.maximum(np.clip(np.rint(limits / width), 0, len(counts)).astype(np.intp), first)
    beyond = (q[-1] - q[last]) - 2 * limits * (s[-1] - s[last]) + limits**2 * (n[-1] - n[last])
    return cast(Bounds, q[first] + (n[last] - n[first]) * steps**2 / 12 + np.maximum(beyond, 0))


def _running(values: Iterable[float] | Bounds) -> Bounds:
    """Sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0.0], np.cumsum(np.asarray(values))])
