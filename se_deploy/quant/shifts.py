"""One-sided tensors use the whole of int8 although its zero point is 0: a constant is added before they are quantized.

    x ── Q ── DQ ── conv(w, b)          x ── (+ c) ── Q ── DQ ── conv(w, b - c sum(w))        c = z scale, z an integer

With sum(w) over the weights as the integers hold them that is exact, and what was 0 still is. Not where a convolution pads: the border's
zeros would stand for -c. This is what asymmetric quantization does with its zero point z, which TensorRT has not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from se_deploy import op
from se_deploy.artifacts import TensorScale
from se_deploy.quant import ranges
from se_deploy.quant.ranges import Integers
from se_deploy.quant.sites import Sites, Weighted

#: The short side's share of the long one up to which a tensor is one-sided. Beyond, steps become little finer, and what images that were
#: not measured have beyond the short side's end would be clipped.
ONE_SIDED = 1 / 8


@dataclass(frozen=True)
class Shift:
    """What is added before QuantizeLinear, and the step then; in the type of the tensor."""

    constant: np.float32
    integers: Integers


def find(model: ModelProto, found: Sites, *, blocks: bool = False) -> list[str]:
    """Tensors of the signed form's sites that can be shifted: only layers read them, without padding.

    With `blocks` (as of `sites.find`) not what SE blocks give, which hand on integers themselves.
    """
    nodes = model.graph.node
    layers = {layer.index: layer for layer in found.layers}
    made = {name: node for node in nodes for name in node.output}
    given = {name for name, node in made.items() if blocks and op.variant_of(node) is not None}
    fits = {index for index, layer in layers.items() if _fits(nodes[index], layer)}
    return [name for name, uses in found.tensors.items() if name in made and name not in given and all(index in fits for index, _ in uses)]


def _fits(node: NodeProto, layer: Weighted) -> bool:
    """A layer whose bias can take the constant: it has a constant bias or may have one, one group, and pads nothing."""
    named = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if layer.bias is None and (node.op_type != "Conv" or len(node.input) > 2):
        return False
    padded = any(named.get("pads", [])) or named.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return not padded and named.get("group", 1) == 1


def shift(scale: TensorScale) -> Shift | None:
    """The constant and the step of a tensor; None where its range is not one-sided."""
    short, long = sorted((max(-scale.min, 0.0), max(scale.max, 0.0)))
    if short > ONE_SIDED * long or long < ranges.NEGLIGIBLE:
        return None
    wide = ranges.unsigned(scale)
    return Shift(np.float32((int(wide.zero_point) - 128) * float(wide.scale)), Integers(wide.scale, np.int8(0)))


def halved(given: Shift) -> Shift:
    """The same for an FP16 tensor: its step goes up to what FP16 holds, and the constant stays a whole number of steps."""
    steps = round(float(given.constant) / float(given.integers.scale))
    integers = ranges.halved(given.integers)
    return Shift(np.float32(steps * float(integers.scale)), integers)


def bias(old: NDArray[np.float32] | None, weight: NDArray[np.float32], axis: int, constant: np.float32) -> NDArray[np.float32]:
    """The bias that takes the constant back; `weight` is what the integers stand for, `axis` its output channels."""
    sums = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64).sum(1)
    return np.asarray((0 if old is None else old) - float(constant) * sums, np.float32)
