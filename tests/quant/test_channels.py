"""What is remembered of channels does not depend on order or parts, and tells what a rescaled tensor would have been."""

import numpy as np
import pytest

from se_deploy.quant import methods
from se_deploy.quant.channels import COARSE, Channels, equalising
from se_deploy.quant.observe import Observer

C = 6


def batches(count: int = 8, size: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    spread = np.geomspace(0.1, 50, C)[:, None, None]
    return [(rng.standard_normal((2, C, size, size)) * spread * rng.uniform(0.01, 5)).astype(np.float32) for _ in range(count)]


def seen(values: list[np.ndarray]) -> Channels:
    channels = Channels()
    for one in values:
        channels.update(one)
    return channels


def alike(one: Channels, other: Channels) -> bool:
    return all(np.array_equal(getattr(one, key), getattr(other, key)) for key in ("low", "high", "exponents", "counts"))


def test_order_and_parts_do_not_matter() -> None:
    values = batches()
    whole = seen(values)
    for parts in ([values[::-1]], [values[::2], values[1::2]], [values[3:], [], values[:3]]):
        joined = Channels()
        for part in parts:
            joined.merge(seen(part))
        assert alike(joined, whole)


def test_merging_leaves_the_other_as_it_was() -> None:
    small, large = seen([batches()[0] * np.float32(1e-3)]), seen([batches()[1]])
    before = seen([batches()[0] * np.float32(1e-3)])
    large.merge(small)
    assert alike(small, before)


def test_ranges_are_exact_and_counts_of_a_grid() -> None:
    values = batches(size=64)
    channels, whole = seen(values), np.concatenate(values)
    np.testing.assert_array_equal(channels.low, whole.min((0, 2, 3)))
    np.testing.assert_array_equal(channels.high, whole.max((0, 2, 3)))
    grid = np.abs(whole[..., ::4, ::4])
    width = np.ldexp(1 / COARSE, channels.exponents)
    for channel in range(C):
        want = np.bincount((grid[:, channel].ravel() / width[channel]).astype(int), minlength=COARSE)
        np.testing.assert_array_equal(channels.counts[channel], want)


def test_vectors_and_sequences_are_counted_whole() -> None:
    for shape in ((5, C), (5, C, 900)):
        assert (seen([np.ones(shape, np.float32)]).counts.sum(1) == np.prod(shape) / C).all()


def test_what_is_not_finite_does_not_count() -> None:
    value = batches()[0]
    broken = value.copy()
    broken[0, 0, 0, 0], broken[0, 1, 0, 0] = np.nan, np.inf
    value[0, :2, 0, 0] = 0
    assert alike(seen([broken]), seen([value]))


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_the_histogram_of_the_rescaled_tensor_is_nearly_what_would_have_been_seen(method: str, power: float) -> None:
    values = [np.maximum(value, 0) for value in batches()]
    channels = seen(values)
    factors = equalising(channels, power)
    got, want = channels.rescaled(factors), Observer()
    for value in values:
        want.update(value / factors.astype(np.float32).reshape(-1, 1, 1))
    assert (got.min, got.max) == pytest.approx((want.min, want.max), rel=1e-6)
    assert methods.bound(got, method)[1] == pytest.approx(methods.bound(want, method)[1], rel=0.03)


def test_factors_make_the_peaks_alike_and_are_around_one() -> None:
    channels = seen(batches())
    factors = equalising(channels, 1.0)
    assert np.ptp(channels.peaks / factors) < 1e-3 * channels.peaks.mean()
    assert np.log2(factors).mean() == pytest.approx(0, abs=1e-3)
    half = equalising(channels, 0.5)
    np.testing.assert_allclose(half**2, factors, rtol=1e-3)
    assert all(float(f"{f:.4g}") == f for f in factors)


def test_dead_channels_are_not_blown_up() -> None:
    value = batches()[0]
    value[:, 2] = 0
    factors = equalising(seen([value]), 1.0)
    assert np.isfinite(factors).all()
    assert factors[2] == pytest.approx(factors.max() / 1024, rel=1e-2)
