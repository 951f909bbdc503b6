"""What rounding to FP16 costs each tensor of a graph, measured by nodes beside it: channel by channel, never its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy.graph.precision import Slots
from se_deploy.graph.protos import copied
from se_deploy.graph.view import Node, View

Sums = NDArray[np.float64]

#: Reduce operators take their axes as an input from this opset on.
_AXES_AS_INPUT = 18
#: What is measured, by the end of the output's name.
_KINDS = ("high", "low", "energy", "error")


@dataclass(frozen=True, eq=False)
class Span:
    """Per channel (one entry where a tensor has no channel axis): the largest magnitude, the mean square, and the mean square of the
    error that rounding to FP16 makes, subnormals included. All are (C,) in FP64; means of batches add up, so only their ratio says
    anything. Merging is associative but for FP64's own rounding."""

    peak: Sums
    energy: Sums
    error: Sums

    def merged(self, other: Span) -> Span:
        """Of what both saw; as one channel where their channels differ, because images of differing sizes make the second axis differ."""
        if self.peak.shape != other.peak.shape:
            return self._whole().merged(other._whole())
        return Span(np.maximum(self.peak, other.peak), self.energy + other.energy, self.error + other.error)

    def _whole(self) -> Span:
        return Span(self.peak.max(keepdims=True), self.energy.mean(keepdims=True), self.error.mean(keepdims=True))


def tensors(view: View, chosen: Mapping[Node, Slots]) -> list[str]:
    """The tensors that would be FP16: what the chosen nodes read and give there, in the graph's order, constants left out."""
    found: dict[str, None] = {}
    for node, slots in chosen.items():
        names = [*(node.inputs[i] for i in sorted(slots.inputs)), *(node.outputs[i] for i in sorted(slots.outputs))]
        found.update(dict.fromkeys(n for n in names if n and view.elem_type(n) == TensorProto.FLOAT and not view.is_constant(n)))
    return list(found)


def watching(view: View, names: Iterable[str]) -> ModelProto:
    """The view's model with three small outputs for each tensor instead of its own; weights are copied.

        x ─┬─ ReduceMax, ReduceMin                                  peak
           ├─ square ─ ReduceMean                                   energy
           └─ Cast to FP16 ─ Cast back ─ Sub ─ square ─ ReduceMean  error

    Reductions are over all axes but the second (the channels), over all where there is no second. ONNX Runtime has no fast
    ReduceSumSquare: a Mul and a ReduceMean take a fifth of its time.
    """
    model = copied(view.model, without=("output", "value_info"))
    for index, name in enumerate(names):
        rank = view.rank(name)
        axes = None if rank is None or rank < 2 else [axis for axis in range(rank) if axis != 1]
        _Beside(model.graph, view.opset, _prefix(index), axes).write(name)
    return model


class _Beside:
    """Writes the nodes beside one tensor."""

    def __init__(self, graph: Any, opset: int, prefix: str, axes: list[int] | None) -> None:
        self._graph, self._opset, self._prefix, self._axes = graph, opset, prefix, axes
        if axes is not None and opset >= _AXES_AS_INPUT:
            graph.initializer.append(numpy_helper.from_array(np.asarray(axes, np.int64), f"{prefix}/axes"))

    def write(self, name: str) -> None:
        half = self._add("Cast", [name], "half", to=TensorProto.FLOAT16)
        back = self._add("Cast", [half], "back", to=TensorProto.FLOAT)
        lost = self._add("Sub", [name, back], "lost")
        self._reduced("ReduceMax", name, "high")
        self._reduced("ReduceMin", name, "low")
        self._reduced("ReduceMean", self._add("Mul", [name, name], "square"), "energy")
        self._reduced("ReduceMean", self._add("Mul", [lost, lost], "squared_error"), "error")

    def _add(self, kind: str, inputs: list[str], end: str, **attributes: Any) -> str:
        node: NodeProto = helper.make_node(kind, inputs, [f"{self._prefix}/{end}"], f"{self._prefix}/{end}", **attributes)
        self._graph.node.append(node)
        return str(node.output[0])

    def _reduced(self, kind: str, name: str, end: str) -> None:
        if self._axes is None:
            made = self._add(kind, [name], end, keepdims=0)
        elif self._opset >= _AXES_AS_INPUT:
            made = self._add(kind, [name, f"{self._prefix}/axes"], end, keepdims=0)
        else:
            made = self._add(kind, [name], end, axes=self._axes, keepdims=0)
        self._graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, None))


def read(names: Iterable[str], outputs: Mapping[str, NDArray[Any]]) -> dict[str, Span]:
    """The spans of one batch, from what a `watching` model gave."""
    found = {}
    for index, name in enumerate(names):
        high, low, energy, error = (np.asarray(outputs[f"{_prefix(index)}/{kind}"], np.float64).reshape(-1) for kind in _KINDS)
        found[name] = Span(np.maximum(np.abs(high), np.abs(low)), energy, error)
    return found


def _prefix(index: int) -> str:
    return f"se_deploy/span/{index}"
