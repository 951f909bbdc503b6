"""Per-channel weights and int32 biases."""

import numpy as np
import pytest

from se_deploy.quant import weights


def test_channel_scales_are_peaks_over_127() -> None:
    w = np.random.default_rng(0).standard_normal((5, 3, 2, 2)).astype(np.float32)
    want = np.array([np.abs(w[c]).max() / np.float32(127) for c in range(5)])
    np.testing.assert_array_equal(weights.channel_scales(w, 0), want)


def test_the_axis_is_the_channel() -> None:
    w = np.float32([[1, 20, 300], [-4, 5, 6]])
    np.testing.assert_array_equal(weights.channel_scales(w, 1), np.float32([4, 20, 300]) / np.float32(127))


@pytest.mark.parametrize(("peak", "scale"), [(0.0, 1.0), (1e-42, np.finfo(np.float32).tiny), (1e-37, np.finfo(np.float32).tiny)])
def test_channels_near_zero_are_safe(peak: float, scale: float) -> None:
    w = np.ones((2, 1, 3, 3), np.float32)
    w[1] = peak
    scales = weights.channel_scales(w, 0)
    assert scales[1] == np.float32(scale)
    q = weights.quantize(w, scales, 0)
    assert np.all(q[0] == 127)
    assert np.abs(q[1].astype(np.float32) * scales[1] - w[1]).max() <= scales[1] / 2


def test_quantize_rounds_half_to_even_and_keeps_off_minus_128() -> None:
    values = np.float32([[0.5, 1.5, -0.5, 126.6, -200, 200]])
    got = weights.quantize(values, np.float32([1]), 0)
    assert got.dtype == np.int8
    assert got.tolist() == [[0, 2, 0, 127, -127, 127]]


def test_a_bias_too_large_for_its_channel_gets_room() -> None:
    scales, step = np.float32([1e-3, 1e-12]), np.float32(0.02)
    bias = np.float32([5, -5])
    raised = weights.room_for_bias(scales, bias, step, products=9)
    assert raised[0] == scales[0]
    assert raised[1] == pytest.approx(5 / ((2**31 - 1 - 9 * 255 * 127) * 0.02), rel=1e-6)
    q = weights.quantize(bias, raised * step, 0, np.int32)
    assert q.dtype == np.int32
    np.testing.assert_allclose(q * (raised * step).astype(np.float64), bias, rtol=1e-6)


@pytest.mark.parametrize("products", [1, 9, 4608, 33_000, 65_000])
@pytest.mark.parametrize("bias", [1e-3, 1.0, -77.7, 1e10, -1e27])
@pytest.mark.parametrize("peak", [0.0, 1e-42, 1e-12, 1e-8, 1e-3])
@pytest.mark.parametrize("step", [1e-10, 0.02, 1e3])
def test_bias_and_the_largest_sum_stay_within_int32(products: int, bias: float, peak: float, step: float) -> None:
    """The largest sum is that of all products at their largest, in the bias's direction; that of some 66,000 fits, no more."""
    w = np.full((1, products), peak, np.float32)
    scales = weights.room_for_bias(weights.channel_scales(w, 0), np.float32([bias]), np.float32(step), products)
    steps = scales * np.float32(step)
    assert np.isfinite(steps).all()
    assert steps[0] >= np.finfo(np.float32).tiny
    q = int(weights.quantize(np.float32([bias]), steps, 0, np.int32)[0])
    largest = 255 * int(np.abs(weights.quantize(w, scales, 0).astype(np.int64)).sum())
    assert abs(q) + largest <= 2**31 - 1
    assert abs(q * float(steps[0]) - bias) <= max(abs(bias) * 2.0**-24, float(steps[0]))


def test_a_scale_is_finite_whatever_the_bias() -> None:
    assert np.isfinite(weights.room_for_bias(np.float32([1]), np.float32([3e38]), np.float32(1e-10), 1)).all()


def test_a_channel_of_zeros_without_bias_keeps_its_scale() -> None:
    zero = np.zeros(1, np.float32)
    assert weights.room_for_bias(weights.channel_scales(np.zeros((1, 9), np.float32), 0), zero, np.float32(0.02), 9).tolist() == [1.0]


def test_an_int32_bias_is_exact_to_its_step() -> None:
    bias = np.random.default_rng(0).standard_normal(64).astype(np.float32) * 30
    steps = np.full(64, 1e-7, np.float32)
    q = weights.quantize(bias, steps, 0, np.int32)
    assert np.abs(q * steps.astype(np.float64) - bias).max() <= 0.5 * float(steps[0]) * (1 + 1e-6)
