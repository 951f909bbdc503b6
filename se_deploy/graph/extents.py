"""Sizes that are not known but equal: what strides and paddings make of an unknown size, written as a term and compared.

A bottleneck whose two ways halve H with a 3x3 and with a 1x1 convolution gives `("div", H, -1, 2)`, that is floor((H - 1) / 2) + 1, on
both; so the addition behind it cannot broadcast, though nobody knows H.
"""

from __future__ import annotations

from typing import Any

from se_deploy import op
from se_deploy.graph.curves import ELEMENTWISE
from se_deploy.graph.view import Node, View

#: A number, a name, or a term.
Extent = int | str | tuple[Any, ...]
Extents = tuple[Extent, ...]

_LIKE_FIRST = frozenset(
    {"Identity", "Cast", "CastLike", "Dropout", "BatchNormalization", "InstanceNormalization", "QuantizeLinear", "DequantizeLinear"}
)
_SLIDING = frozenset({"Conv", "AveragePool", "MaxPool"})


class Sizing:
    """The extents of a graph's tensors, found in one pass."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[str, Extents] = {}
        for node in view.nodes:
            for name in node.outputs:
                extents = self._settled(name, self._made(node) if name == node.outputs[0] else None)
                if extents is not None:
                    self._known[name] = extents

    def are_alike(self, a: str, b: str) -> bool:
        """Whether two tensors surely have the same shape."""
        first, second = self._of(a), self._of(b)
        return first is not None and first == second

    def _of(self, name: str) -> Extents | None:
        return self._known.get(name) or self._settled(name, None)

    def _settled(self, name: str, made: Extents | None) -> Extents | None:
        """Numbers from inference; where it has none, the term; where there is none, inference's symbol or a name of its own."""
        shape = self._view.shape(name)
        if shape is None:
            return made
        fitting = made if made is not None and len(made) == len(shape) else (None,) * len(shape)
        return tuple(
            size if isinstance(size, int) else term or size or f"{name}:{axis}"
            for axis, (size, term) in enumerate(zip(shape, fitting, strict=True))
        )

    def _made(self, node: Node) -> Extents | None:
        """What an operator makes of its inputs' extents, None where that is not followed."""
        if not node.inputs or self._view.is_constant(node.outputs[0]):
            return None
        if node.op in _LIKE_FIRST or op.variant_of(node.proto) is not None:
            return self._of(node.inputs[0])
        if node.op in ELEMENTWISE:
            return self._joined(node)
        if node.op in _SLIDING:
            return self._slid(node)
        return None

    def _joined(self, node: Node) -> Extents | None:
        """One extent for each axis: that which is not 1. None where two differ, and one of them may be 1."""
        operands = [self._of(name) for name in node.inputs if name]
        known = [o for o in operands if o is not None]
        if len(known) < len(operands):
            return None
        rank = max(map(len, known))
        columns = zip(*[(1,) * (rank - len(o)) + o for o in known], strict=True)
        sizes = [set(column) - {1} or {1} for column in columns]
        return tuple(next(iter(s)) for s in sizes) if all(len(s) == 1 for s in sizes) else None

    def _slid(self, node: Node) -> Extents | None:
        """Of a window: floor((size + slack) / stride) + 1."""
        source = self._of(node.inputs[0])
        weight = self._view.shape(node.input(1)) if node.op == "Conv" else ()
        if source is None or weight is None or any(not isinstance(w, int) for w in weight):
            return None
        window = [int(w) for w in weight[2:] if w is not None] if node.op == "Conv" else list(node.get("kernel_shape", ()))
        axes = len(window)
        strides, dilations = (list(node.get(key, [1] * axes)) for key in ("strides", "dilations"))
        pads = list(node.get("pads", [0] * 2 * axes))
        channels: Extent = int(weight[0] or 0) if node.op == "Conv" else source[1]
        spatial = []
        for i, (size, kernel, stride, dilation) in enumerate(zip(source[2:], window, strides, dilations, strict=True)):
            slack = _slack(node, kernel, stride, dilation, pads[i] + pads[i + axes])
            if slack is None:
                return None
            spatial.append(size if (slack, stride) == (-1, 1) else ("div", size, slack, stride))
        return (source[0], channels, *spatial)


def _slack(node: Node, kernel: int, stride: int, dilation: int, pads: int) -> int | None:
    """What is added to a size before it is divided by the stride; None for roundings that depend on more."""
    if node.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return -1
    slack = pads - dilation * (kernel - 1) - 1
    if not node.get("ceil_mode", 0):
        return slack
    # Rounding up: the rule that a window must start inside the map changes nothing for windows without padding or gaps.
    return slack + stride - 1 if pads == 0 and dilation == 1 and stride <= kernel else None
