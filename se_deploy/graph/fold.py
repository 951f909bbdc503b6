"""A block whose gate is a constant becomes a factor per channel, and goes away with its FCs; what it took along stays.

conv ── SqueezeExcite(…, residual, Relu)        conv' ── Add(residual) ── Relu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import ModelProto, NodeProto, helper

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph import absorb
from se_deploy.graph.net import Float, Net

#: Where a factor went: the layer before, the convolutions behind, or nowhere: a Mul with a constant stays.
Where = Literal["before", "behind", "mul"]


@dataclass(frozen=True)
class Folded:
    """The new model, and where each block's factor went."""

    model: ModelProto
    places: dict[str, Where]


def fold(model: ModelProto, constants: Mapping[str, Float]) -> Folded:
    """The model without these blocks. The model that came in is not changed.

    Args:
        model: a fused FP32 model.
        constants: by the name of a SqueezeExcite node, what its gate is: (C,).

    Raises:
        GraphError: there is no such node in floating point.
    """
    net = Net(model)
    places: dict[str, Where] = {}
    for name, gate in constants.items():
        node = next((n for n in net.nodes if n.name == name and op.variant_of(n) is not None), None)
        variant = None if node is None else op.variant_of(node)
        if node is None or variant is None or variant.int8:
            raise GraphError(f"no SE block in floating point is named {name}", "run `se-deploy inspect` for the names")
        places[name] = _fold(net, node, variant, np.asarray(gate, np.float32))
    return Folded(net.finished(), places)


def _fold(net: Net, node: NodeProto, variant: op.Variant, gate: Float) -> Where:
    named = dict(zip(variant.inputs, node.input, strict=True))
    factor = gate + np.float32(1) if variant.skip == "self" else gate
    x, where = named["x"], _absorbed(net, node, variant, factor, named)
    made: list[NodeProto] = []

    def emit(kind: str, *inputs: str, **attributes: float) -> str:
        output = net.fresh(f"{node.name}/{kind}{len(made)}")
        new = helper.make_node(kind, list(inputs), [output], output)
        new.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        made.append(new)
        return output

    if where == "mul":
        rank = _rank(net, x)
        x = emit("Mul", x, net.constant(f"{node.name}.gate", factor.reshape(1, -1, *[1] * (rank - 2))))
    if variant.skip == "add":
        x = emit("Add", x, named["residual"])
    x = _epilogue(variant.epilogue, x, emit)
    if made:
        made[-1].output[0] = node.output[0]
        net.replace(node, made)
    elif net.is_output(node.output[0]):
        net.replace(node, [helper.make_node("Identity", [x], [node.output[0]], node.name)])
    else:
        net.replace(node, [])
        net.rename(node.output[0], x)
    return where


def _absorbed(net: Net, node: NodeProto, variant: op.Variant, factor: Float, named: Mapping[str, str]) -> Where:
    place = absorb.before(net, named["x"], factor) if named.get("residual") != named["x"] else None
    if place is not None:
        absorb.scale_before(net, place, factor)
        return "before"
    passes = variant.epilogue == "none" or (variant.epilogue == "relu" and bool((factor >= 0).all()))
    convolutions = absorb.behind(net, node.output[0]) if variant.skip != "add" and passes else None
    if convolutions is not None:
        absorb.scale_behind(net, convolutions, factor)
        return "behind"
    return "mul"


def _rank(net: Net, name: str) -> int:
    """The axes of a block's map: those of the convolution's weight upstream, else an image's."""
    node = net.producer(name)
    while node is not None and node.input:
        weight = net.value(node.input[1]) if node.op_type == "Conv" else None
        if weight is not None:
            return weight.ndim
        node = net.producer(node.input[0])
    return 4


def _epilogue(kind: str, x: str, emit: Callable[..., str]) -> str:
    """The activation that the node took along, spelled as `op.function` does."""
    match kind:
        case "none":
            return x
        case "relu":
            return emit("Relu", x)
        case "silu":
            return emit("Mul", x, emit("Sigmoid", x))
        case "hardswish":
            return emit("Mul", x, emit("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    raise ValueError(kind)
