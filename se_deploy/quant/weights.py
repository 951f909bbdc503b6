"""Weights and biases in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The most that one product of an activation (uint8, zero point taken off) and a weight adds to a sum.
PRODUCT = 255 * 127
#: A bias has at least so many steps, however many products a sum has: FP32 holds no more.
BIAS_STEPS = 2**24

Float = NDArray[np.float32]


def channel_scales(weight: Float, axis: int) -> Float:
    """The symmetric scale of each output channel: max|w| / 127. A channel of zeros gets 1, a subnormal scale the least normal one."""
    peaks = np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1)
    scales = np.maximum(peaks / np.float32(127), np.finfo(np.float32).tiny)
    return np.where(peaks > 0, scales, np.float32(1)).astype(np.float32)


def room_for_bias(scales: Float, bias: Float, input_scale: np.float32, products: int) -> Float:
    """Raises the scale of channels whose bias, in units of input scale times weight scale, would leave int32 with the products' sum.

    Such a channel's weights are so small beside its bias that what they lose is at most some 3e-8 of it for each product. The product of
    the two scales, which is the bias's, is never below FP32's least normal number.

    Args:
        scales: of the weight, a channel each.
        bias: of the same shape.
        input_scale: the activation's.
        products: how many a sum has: input channels of a group times the kernel's size.
    """
    limit = max(np.iinfo(np.int32).max - products * PRODUCT, BIAS_STEPS)
    info = np.finfo(np.float32)
    least = np.maximum(np.abs(bias.astype(np.float64)) / limit, info.tiny) / np.float64(input_scale)
    above = np.nextafter(np.minimum(least, info.max).astype(np.float32), info.max)  # not below it by FP32's rounding
    return np.maximum(scales, above)


def quantize(values: Float, scales: Float, axis: int, kind: type[np.signedinteger[Any]] = np.int8) -> NDArray[Any]:
    """Rounds half to even, saturating; int8 is kept within -127..127, as symmetric weights are."""
    shape = [1] * values.ndim
    shape[axis] = -1
    limit = 127 if kind is np.int8 else np.iinfo(kind).max
    # FP64: an int32 bias does not fit FP32's 24 bits.
    steps = np.rint(values.astype(np.float64) / scales.astype(np.float64).reshape(shape))
    return np.clip(steps, -limit, limit).astype(kind)
