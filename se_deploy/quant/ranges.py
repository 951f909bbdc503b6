"""From what was seen of a tensor to its scale, and from a scale to the integers' type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import TensorScale
from se_deploy.quant import methods
from se_deploy.quant.observe import Observer

#: A range below this carries nothing; its scale would sink towards FP32's subnormals.
NEGLIGIBLE = 1e-30
#: The scale of a tensor whose range is not known: -1 to 1.
SAFE = 1 / 127

#: The least FP16 scale: below FP16's normal numbers, where it is still within 3 % of what was wanted.
LEAST_HALF = np.float32(2.0**-19)


def choose(tensor: str, seen: Observer, method: str = "minmax") -> tuple[TensorScale, str | None]:
    """A tensor's scale by one of `methods.NAMES`, and a note that names the tensor where the images say too little of it."""
    note = None
    if seen.nonfinite:
        note = f"{tensor}: {seen.nonfinite} value(s) were not finite; its scale is that of the others"
    if seen.min > seen.max:
        return TensorScale(min=0.0, max=0.0, scale=SAFE), f"{tensor}: no value was finite; its scale is a guess (-1 to 1)"
    peak = max(abs(seen.min), abs(seen.max))
    if peak < NEGLIGIBLE:
        return TensorScale(min=seen.min, max=seen.max, scale=SAFE), f"{tensor}: always zero on these images; its scale is a guess (-1 to 1)"
    if seen.min == seen.max:
        note = note or f"{tensor}: always {seen.min:.6g} on these images"
    name, kept = methods.bound(seen, method)
    return TensorScale(min=seen.min, max=seen.max, scale=kept / 127, method=name), note


@dataclass(frozen=True)
class Integers:
    """How a tensor is written in integers: value = (q - zero_point) * scale. `zero_point` is int8 or uint8 and carries the type."""

    scale: np.float32 | np.float16
    zero_point: np.int8 | np.uint8


def signed(scale: TensorScale) -> Integers:
    """Symmetric int8, zero point 0: what TensorRT takes."""
    return Integers(np.float32(scale.scale), np.int8(0))


def halved(integers: Integers) -> Integers:
    """The same with a scale of FP16, the next one up: nothing of the range is lost."""
    return Integers(np.float16(up_to_half(np.asarray([integers.scale]))[0]), integers.zero_point)


def up_to_half(scales: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales rounded up to what FP16 holds, at least to LEAST_HALF."""
    nearest = scales.astype(np.float16)
    above = np.where(nearest < scales, np.nextafter(nearest, np.float16(np.inf)), nearest)
    return np.maximum(above.astype(np.float32), LEAST_HALF)


def unsigned(scale: TensorScale) -> Integers:
    """uint8 over the part of the range seen that the symmetric scale keeps; zero is exact, so that a Relu folds into it."""
    bound = 127 * scale.scale
    low, high = max(min(scale.min, 0.0), -bound), min(max(scale.max, 0.0), bound)
    if high - low < NEGLIGIBLE:
        low, high = -bound, bound
    step = (high - low) / 255
    return Integers(np.float32(step), np.uint8(round(-low / step)))
