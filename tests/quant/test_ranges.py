"""Scales: exact where the images say something, safe and noted where they do not."""

import math

import numpy as np
import pytest

from se_deploy.artifacts import TensorScale
from se_deploy.quant import ranges
from se_deploy.quant.observe import Observer


def seen(*batches: np.ndarray) -> Observer:
    observer = Observer()
    for batch in batches:
        observer.update(batch)
    return observer


def test_running_range_and_merge_equal_one_pass() -> None:
    batches = [np.random.default_rng(i).standard_normal((2, 3, 4)).astype(np.float32) * i for i in range(5)]
    whole, left, right = seen(*batches), seen(*batches[:2]), seen(*batches[2:])
    left.merge(right)
    assert left == whole
    assert (whole.min, whole.max) == (float(np.min(batches)), float(np.max(batches)))


def test_an_observer_that_saw_nothing_merges_away() -> None:
    one, none = seen(np.float32([1, -2, np.nan])), Observer()
    one.merge(none)
    none.merge(one)
    assert one == none == seen(np.float32([1, -2, np.nan]))
    assert (one.min, one.max, one.nonfinite) == (-2.0, 1.0, 1)


def test_minmax_scale_is_exact() -> None:
    scale, note = ranges.choose("t", seen(np.float32([-3, 2])))
    assert (scale, note) == (TensorScale(min=-3, max=2, scale=3 / 127, method="minmax"), None)


@pytest.mark.parametrize(
    ("values", "scale", "said"),
    [
        ([0, 0], 1 / 127, "t: always zero on these images"),
        ([1e-40, -1e-42], 1 / 127, "t: always zero on these images"),
        ([4, 4], 4 / 127, "t: always 4 on these images"),
        ([math.nan, math.inf], 1 / 127, "t: no value was finite"),
        ([math.nan, math.inf, -math.inf, 2], 2 / 127, "t: 3 value(s) were not finite"),
        ([3.4e38, -1], np.float64(np.float32(3.4e38)) / 127, None),
    ],
)
def test_safe_scales_with_a_named_note(values: list[float], scale: float, said: str | None) -> None:
    got, note = ranges.choose("t", seen(np.float32(values)))
    assert got.scale == pytest.approx(scale, rel=1e-12)
    assert (note or "").startswith(said or "")
    assert (note is None) == (said is None)
    for how in (ranges.signed, ranges.unsigned):
        written = how(got)
        assert np.isfinite(written.scale)
        assert written.scale > np.finfo(np.float32).tiny


def test_signed_is_symmetric_int8() -> None:
    written = ranges.signed(TensorScale(min=-1, max=2, scale=2 / 127))
    assert (written.scale, written.zero_point, written.zero_point.dtype) == (np.float32(2 / 127), 0, np.int8)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (0, 2.55, 0.01, 0),
        (0.5, 2.55, 0.01, 0),
        (-1, 1.55, 0.01, 100),
        (-0.506, 2.044, 0.01, 51),
        (-2.55, 0, 0.01, 255),
        (-2.55, -1, 0.01, 255),
    ],
)
def test_unsigned_spans_the_range_and_holds_zero_exactly(low: float, high: float, scale: float, zero: int) -> None:
    written = ranges.unsigned(TensorScale(min=low, max=high, scale=max(-low, high) / 127))
    assert written.scale == pytest.approx(scale, rel=1e-6)
    assert (written.zero_point, written.zero_point.dtype) == (zero, np.uint8)


def test_unsigned_keeps_to_a_clipped_scale() -> None:
    """A method that clips says so with a scale smaller than the range: 127 * 0.01 on either side."""
    written = ranges.unsigned(TensorScale(min=-0.5, max=9, scale=0.01))
    assert written.scale == pytest.approx((0.5 + 1.27) / 255, rel=1e-6)
    assert written.zero_point == round(0.5 / (1.77 / 255))
