"""Two classifiers on the same images: McNemar's test, and the difference of their accuracies with its interval."""

from __future__ import annotations

import math

import numpy as np

from se_deploy.verify.intervals import Interval, Z
from se_deploy.verify.report import Paired


def paired(both: int, only_engine: int, only_reference: int, neither: int) -> Paired | None:
    """What the four counts of right and wrong say; None of no images.

    `p` is McNemar's in its exact form (McNemar, Psychometrika 12, 1947): two-sided binomial over the images on which one alone is right.
    `drop`, the reference's accuracy less the engine's in percentage points, has Agresti and Min's interval (Statistics in Medicine 24,
    2005): Wald's, half an image added to each count.
    """
    count = both + only_engine + only_reference + neither
    if count == 0:
        return None
    larger, smaller, total = only_reference + 0.5, only_engine + 0.5, count + 2
    middle = (larger - smaller) / total
    half = Z * math.sqrt(larger + smaller - (larger - smaller) ** 2 / total) / total
    drop = Interval(
        value=100 * (only_reference - only_engine) / count, low=100 * max(-1.0, middle - half), high=100 * min(1.0, middle + half)
    )
    return Paired(only_engine=only_engine, only_reference=only_reference, p=mcnemar(only_engine, only_reference), drop=drop)


def mcnemar(first: int, second: int) -> float:
    """The chance that a fair coin splits `first` + `second` images at least so unevenly."""
    total = first + second
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(min(first, second) + 1)]
    tail = float(np.exp(np.array(logs) - total * math.log(2)).sum())
    return min(1.0, 2 * tail)
