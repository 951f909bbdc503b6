"""Weights and biases in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A bias may take half of int32's range; the sum of products has the other half.
BIAS_LIMIT = 2**30

Float = NDArray[np.float32]


def channel_scales(weight: Float, axis: int) -> Float:
    """The symmetric scale of each output channel: max|w| / 127. A channel of zeros gets 1, a subnormal scale the least normal one."""
    peaks = np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1)
    scales = np.maximum(peaks / np.float32(127), np.finfo(np.float32).tiny)
    return np.where(peaks > 0, scales, np.float32(1)).astype(np.float32)


def room_for_bias(scales: Float, bias: Float, input_scale: np.float32) -> Float:
    """Raises the scale of channels whose bias, in units of input scale times weight scale, would not fit int32.

    Such a channel's weights are so small beside its bias that what they lose lies below the bias's own FP32 rounding.
    """
    return np.maximum(scales, np.abs(bias) / (np.float32(BIAS_LIMIT) * input_scale)).astype(np.float32)


def quantize(values: Float, scales: Float, axis: int, kind: type[np.signedinteger[Any]] = np.int8) -> NDArray[Any]:
    """Rounds half to even, saturating; int8 is kept within -127..127, as symmetric weights are."""
    shape = [1] * values.ndim
    shape[axis] = -1
    limit = 127 if kind is np.int8 else np.iinfo(kind).max
    # FP64: an int32 bias does not fit FP32's 24 bits.
    steps = np.rint(values.astype(np.float64) / scales.astype(np.float64).reshape(shape))
    return np.clip(steps, -limit, limit).astype(kind)
