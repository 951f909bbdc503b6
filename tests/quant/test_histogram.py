"""Counts are exact and do not depend on the order or the company in which values came."""

import math

import numpy as np
import pytest

from se_deploy.quant.histogram import BINS, LEAST, PIECE, exponent_of
from se_deploy.quant.observe import Observer

RNG = np.random.default_rng(0)
#: Ranges that grow, shrink, and touch the ends of FP32; zeros, powers of two and their neighbours.
BATCHES = [(RNG.standard_normal((2, 3, 50)) * 10.0**power).astype(np.float32) for power in (-3, 2, 0, -35, 30, 1)] + [
    np.float32([0, -0.0, 1, -1, np.nextafter(np.float32(1), 0), 2, -2, 3.4e38, 1e-45])
]


def seen(*batches: np.ndarray) -> Observer:
    observer = Observer()
    for batch in batches:
        observer.update(batch)
    return observer


def test_every_value_is_in_the_bin_that_the_definition_says() -> None:
    values = (RNG.standard_normal(1000) * 3).astype(np.float32)
    histogram = seen(values).histogram
    want = np.zeros(2 * BINS + 1, np.int64)
    for value in values:
        want[BINS + math.trunc(float(value) / histogram.width)] += 1
    assert np.array_equal(histogram.counts, want)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_and_any_split_give_the_same_counts(seed: int) -> None:
    whole = seen(np.concatenate([batch.reshape(-1) for batch in BATCHES]))
    order = np.random.default_rng(seed).permutation(len(BATCHES))
    left, right = seen(*(BATCHES[i] for i in order[:3])), seen(*(BATCHES[i] for i in order[3:]))
    left.merge(right)
    assert left == whole
    assert whole.histogram.counts.sum() == sum(batch.size for batch in BATCHES)


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = seen(np.float32([8])), seen(np.float32([1, 2]))
    one.merge(other)
    one.update(np.float32([1]))
    assert other == seen(np.float32([1, 2]))


def test_pieces_lose_nothing() -> None:
    assert seen(np.ones(PIECE * 2 + 1, np.float32)).histogram.counts.sum() == PIECE * 2 + 1


def test_sides_and_magnitudes_hold_every_value_once() -> None:
    histogram = seen(np.float32([-3, -1, 0, 0, 1, 1, 2])).histogram
    assert (histogram.side(1).sum(), histogram.side(-1).sum(), histogram.magnitudes().sum(), histogram.magnitudes()[0]) == (3, 2, 7, 2)


@pytest.mark.parametrize(("peak", "exponent"), [(1, 1), (0.99, 0), (2, 2), (0, LEAST if LEAST > 0 else 0), (1e-38, LEAST), (3.4e38, 128)])
def test_the_exponent_is_the_least_power_beyond_the_peak(peak: float, exponent: int) -> None:
    assert exponent_of(peak) == exponent
