"""QuantizeLinear and DequantizeLinear with one constant scale: what they do to a vector, and which pairs undo each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from se_deploy.graph.view import Node, View

PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
#: Nodes between the two halves of a pair: reshapes, transposes.
_LONGEST = 6


@dataclass(frozen=True)
class Scaling:
    """real = scale * (integer - zero_point), of integers from `low` to `high`."""

    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def is_symmetric_int8(self) -> bool:
        """What a SqueezeExcite node of INT8 form takes."""
        return (self.zero_point, self.low, self.high) == (0, -128, 127)

    @property
    def cuts_at_zero(self) -> bool:
        """Whether its smallest number is 0: quantizers drop a Relu in front of it."""
        return self.zero_point == self.low


def scaling(view: View, node: Node) -> Scaling | None:
    """A pair's half, per tensor and constant; None for per-channel and block scales, and for what is computed."""
    scale = view.constant(node.inputs[1])
    zero = view.constant(node.input(2)) if node.input(2) else np.zeros((), np.uint8 if node.op == "QuantizeLinear" else np.int8)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
        return None
    if not node.input(2) and (node.get("output_dtype", 0) or node.op == "DequantizeLinear"):
        return None if (kind := _kind(view, node)) is None else Scaling(float(scale.item()), 0, *kind)
    limits = np.iinfo(zero.dtype)
    return Scaling(float(scale.item()), int(zero.item()), int(limits.min), int(limits.max))


def _kind(view: View, node: Node) -> tuple[int, int] | None:
    """The range of the integers where no zero point tells their type."""
    name = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    return {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767)}.get(view.elem_type(name))


def undone(view: View, node: Node) -> Scaling | None:
    """The scaling of a DequantizeLinear that undoes a QuantizeLinear above it; None for any other."""
    own, name = scaling(view, node), node.inputs[0]
    for _ in range(_LONGEST):
        above = view.producer.get(name)
        if above is None or own is None:
            return None
        if above.op == "QuantizeLinear":
            return own if scaling(view, above) == own else None
        name = above.inputs[0] if above.inputs else ""
    return None


def is_never_negative(view: View, name: str) -> bool:
    """Whether a tensor of integers stands for numbers of 0 and above alone."""
    node = view.producer.get(name)
    known = scaling(view, node) if node is not None and node.op == "QuantizeLinear" else None
    return known is not None and known.cuts_at_zero
