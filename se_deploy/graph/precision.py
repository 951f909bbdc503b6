"""Which nodes of a graph may compute in FP16, and which inputs and outputs of them are FP16 then."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from se_deploy import op
from se_deploy.graph.view import Node, View

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14

#: Sums over many values, which FP16 holds neither in range nor in precision; and changes of type, which are to stay what they are.
_FP32 = frozenset({
    "CumSum", "GlobalLpPool", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LogSoftmax", "LpNormalization",
    "LpPool", "MeanVarianceNormalization", "RMSNormalization", "Softmax",
    "QuantizeLinear", "DequantizeLinear", "Cast", "CastLike",
})  # fmt: skip

#: An average over a window this large still fits: 16 values of up to 4094.
_WINDOW = 16

#: What begins the part of a network's head that may be FP16 after its last mean.
_FCS = frozenset({"Gemm", "MatMul", "Conv"})

#: (operator, input): what values are divided by, and what is added to larger ones.
_DIVISORS = frozenset({("Div", 1), ("BatchNormalization", 4)})
_BIASES = frozenset({("Conv", 2), ("ConvTranspose", 2), ("Gemm", 2), ("BatchNormalization", 2)})


@dataclass(frozen=True)
class Slots:
    """Positions of a node's inputs and outputs that are FP16 when the node computes in FP16; the others stay as they are."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def choose(view: View, notes: list[str], wide: Collection[str] = ()) -> dict[Node, Slots]:
    """The nodes that may compute in FP16, without those named in `wide`. `notes` takes a line for each that may not because of its
    weights' values."""
    chosen = {node: slots for node, slots in candidates(view).items() if node.name not in wide}
    misfit = misfits(view, chosen)
    notes += [f"{node.name} stays in FP32: {problem}" for node, problem in misfit.items()]
    return {node: slots for node, slots in chosen.items() if node not in misfit}


def candidates(view: View) -> dict[Node, Slots]:
    """The nodes that may compute in FP16 by what they do, whatever their values are."""
    in_fp32 = _means_and_gates(view)
    found = ((node, None if node in in_fp32 else _slots(view, node)) for node in view.nodes)
    return {node: slots for node, slots in found if slots is not None}


def misfits(view: View, chosen: Mapping[Node, Slots]) -> dict[Node, str]:
    """Those of the nodes with constants that FP16 cannot hold, and why."""
    found = ((node, _misfit(view, node, slots)) for node, slots in chosen.items())
    return {node: problem for node, problem in found if problem}


def is_mean(node: Node) -> bool:
    """Whether a node sums over more values than FP16 can hold."""
    if node.op == "AveragePool":
        return bool(math.prod(node.attributes["kernel_shape"]) > _WINDOW)
    return node.op.startswith("Reduce") or node.op == "GlobalAveragePool"


def _flowing(view: View, node: Node, *types: int) -> list[str]:
    """A node's inputs of these types that depend on the network's."""
    return [name for name in node.inputs if view.elem_type(name) in types and not view.is_constant(name)]


def _slots(view: View, node: Node) -> Slots | None:
    """What would be FP16 about a node; None where it stays as it is."""
    all_known = all(view.elem_type(name) for name in (*node.inputs, *node.outputs) if name)
    if node.op in _FP32 or node.captured or not all_known or not _flowing(view, node, TensorProto.FLOAT):
        return None
    variant = op.variant_of(node.proto)
    if variant is not None:
        return Slots(frozenset(i for i, name in enumerate(variant.inputs) if name in ("x", "residual")), frozenset({0}))
    return _from_schema(view, node)


def _from_schema(view: View, node: Node) -> Slots | None:
    """From ONNX's own definition of the operator: Resize takes FP16 data and FP32 scales, for instance."""
    if not onnx.defs.has(node.op, view.opset):  # View puts other domains in front of the name
        return None
    schema = onnx.defs.get_schema(node.op, view.opset)
    allowed = {c.type_param_str for c in schema.type_constraints if "tensor(float16)" in c.allowed_type_strs}

    def positions(names: tuple[str, ...], formal: Any) -> frozenset[int]:
        return frozenset(i for i in range(len(names)) if formal[min(i, len(formal) - 1)].type_str in allowed)

    slots = Slots(positions(node.inputs, schema.inputs), positions(node.outputs, schema.outputs))
    flowing = _flowing(view, node, TensorProto.FLOAT)
    return slots if any(node.inputs[i] in flowing for i in slots.inputs) else None


def _misfit(view: View, node: Node, slots: Slots) -> str | None:
    """Which constant of a node FP16 cannot hold, and why."""
    for index in sorted(slots.inputs):
        name = node.inputs[index]
        value = view.constant(name) if view.elem_type(name) == TensorProto.FLOAT else None
        problem = None if value is None else _problem(node.op, index, value)
        if problem:
            return f"{name} {problem}"
    return None


def _problem(kind: str, index: int, values: NDArray[Any]) -> str | None:
    """What is wrong with a constant in FP16. Single tiny weights lose nothing that matters; a tensor of nothing else does, or a divisor."""
    finite = np.abs(values[np.isfinite(values)])
    largest, smallest = float(finite.max(initial=0)), float(finite.min(initial=1))
    if largest > LARGEST:
        return f"reaches {largest:.3g}, FP16 ends at {LARGEST:.0f}"
    if (kind, index) in _DIVISORS and smallest < SMALLEST_NORMAL:
        return f"divides by {smallest:.3g}, FP16 is exact down to {SMALLEST_NORMAL:.2g}"
    if 0 < largest < SMALLEST_NORMAL and (kind, index) not in _BIASES:
        return f"is {largest:.3g} at most, FP16 is exact down to {SMALLEST_NORMAL:.2g}"
    return None


def _means_and_gates(view: View) -> set[Node]:
    """Means, what finishes them (a sum's division, a reshape), and all that lies between a mean and the tensor it gates.

    x -+- mean - FC - act - FC - gate - Mul        FP32 but for the Mul
       +--------------------------------+
    x --- mean - flatten - FC - logits             FP32: the mean and the flatten
    """
    pooled: set[str] = set()  # tensors that come from means alone
    before_fc: set[str] = set()
    found: set[Node] = set()
    joined: list[str] = []
    for node in view.nodes:
        flowing = _flowing(view, node, TensorProto.FLOAT, TensorProto.FLOAT16)
        if is_mean(node) or (flowing and pooled.issuperset(flowing)):
            pooled.update(node.outputs)
            if is_mean(node) or (node.op not in _FCS and before_fc.issuperset(flowing)):
                before_fc.update(node.outputs)
                found.add(node)
        else:
            joined.extend(name for name in flowing if name in pooled)
    found.update(_upstream(view, joined, pooled))
    return found


def _upstream(view: View, names: list[str], pooled: set[str]) -> Iterator[Node]:
    """Nodes that tensors come from, as far back as those come from means alone."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in pooled and name not in seen:
            seen.add(name)
            yield view.producer[name]
            names.extend(view.producer[name].inputs)
