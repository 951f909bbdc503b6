"""95 % intervals: of a share, and of the ratio of two latencies measured side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

from se_deploy.artifacts import Record

#: The normal distribution's 97.5 % point: a two-sided interval of 95 %.
Z = 1.959963984540054


class Interval(Record):
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float


def share(hits: int, count: int) -> Interval | None:
    """`hits` of `count` in percent (0-100), with Wilson's score interval; None of nothing.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927):
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). Unlike p ± z√(p(1-p)/n) it stays inside 0-100 and has a width at 0 and at 100.
    """
    if count == 0:
        return None
    p, spread = hits / count, Z * Z / count
    centre = (p + spread / 2) / (1 + spread)
    half = Z * math.sqrt(p * (1 - p) / count + spread / (4 * count)) / (1 + spread)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(value=100 * p, low=0.0 if hits == 0 else 100 * low, high=100.0 if hits == count else 100 * high)


def ratio(above: Sequence[float], below: Sequence[float]) -> Interval:
    """mean(above) / mean(below) of paired blocks: block k of both was measured at the same time, so what slowed one slowed the other.

    The ratio estimator (Cochran, Sampling Techniques, 3rd ed., 1977, section 6.4) on a log scale: the residuals
    above_k/mean(above) - below_k/mean(below) have the log ratio's linearised error, and Student's t takes care of few blocks.

    Raises:
        ValueError: fewer than three pairs.
    """
    if len(above) != len(below) or len(above) < 3:
        raise ValueError("a ratio's interval takes at least three paired blocks")
    mean_above, mean_below = mean(above), mean(below)
    residuals = [a / mean_above - b / mean_below for a, b in zip(above, below, strict=True)]
    half = student_t(len(residuals) - 1) * stdev(residuals) / math.sqrt(len(residuals))
    value = mean_above / mean_below
    return Interval(value=value, low=value * math.exp(-half), high=value * math.exp(half))


def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, to 1 % from 2 degrees of freedom on (Abramowitz and Stegun, 1964, 26.7.5)."""
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))
