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
    bias = np.float32([5, 5])
    raised = weights.room_for_bias(scales, bias, step)
    assert raised[0] == scales[0]
    assert raised[1] == pytest.approx(5 / (2**30 * 0.02), rel=1e-6)
    q = weights.quantize(bias, raised * step, 0, np.int32)
    assert q.dtype == np.int32
    np.testing.assert_allclose(q * (raised * step).astype(np.float64), bias, rtol=1e-6)


def test_an_int32_bias_is_exact_to_its_step() -> None:
    bias = np.random.default_rng(0).standard_normal(64).astype(np.float32) * 30
    steps = np.full(64, 1e-7, np.float32)
    q = weights.quantize(bias, steps, 0, np.int32)
    assert np.abs(q * steps.astype(np.float64) - bias).max() <= 0.5 * float(steps[0]) * (1 + 1e-6)
