"""A graph whose gates can be watched, and held at constants one block at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.graph.inline import inlined


@dataclass(frozen=True)
class Tap:
    """Where a block's gate is in the inlined graph: `pooled` is what its first FC reads, `gate` what multiplies the map."""

    name: str
    #: (N, C, 1, ...): the mean of x over its positions.
    pooled: str
    #: (N, C).
    gate: str


def tapped(model: ModelProto) -> tuple[ModelProto, tuple[Tap, ...]]:
    """The model in plain operators, with where each SqueezeExcite node's gate is in it. The model that came in is not changed."""
    bodies = {f.name: f for f in model.functions if f.domain == op.DOMAIN}
    nodes = [node for node in model.graph.node if op.variant_of(node) is not None]
    return inlined(model), tuple(_tap(node, bodies[node.op_type]) for node in nodes)


def _tap(node: NodeProto, body: FunctionProto) -> Tap:
    """`op.function` pools once and reshapes once; `inlined` puts the node's name before the body's."""
    prefix = node.name or node.output[0]
    pooled = next(inner.output[0] for inner in body.node if inner.op_type == "GlobalAveragePool")
    gate = next(inner.input[0] for inner in body.node if inner.op_type == "Reshape")
    return Tap(node.name, f"{prefix}/{pooled}", f"{prefix}/{gate}")


def watching(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """The model itself, its named float tensors made outputs too."""
    have = {value.name for value in (*model.graph.input, *model.graph.output)}
    extra = (name for name in dict.fromkeys(tensors) if name not in have)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in extra)
    return model


def switch(name: str) -> str:
    """The name of a block's switch: a bool input of no axes."""
    return f"{name}/held"


def switched(model: ModelProto, taps: Sequence[Tap], constants: Mapping[str, NDArray[np.float32]]) -> ModelProto:
    """The inlined model with a switch a block: true holds its gate at the constant (C,), false leaves it. The model is changed."""
    makers = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    behind: dict[int, NodeProto] = {}
    for tap in (tap for tap in taps if tap.name in constants):
        maker = model.graph.node[makers[tap.gate]]
        free, held = f"{tap.gate}/free", f"{tap.gate}/constant"
        maker.output[0] = free
        model.graph.initializer.append(numpy_helper.from_array(constants[tap.name].astype(np.float32)[None], held))
        model.graph.input.append(helper.make_tensor_value_info(switch(tap.name), TensorProto.BOOL, []))
        behind[makers[tap.gate]] = helper.make_node("Where", [switch(tap.name), held, free], [tap.gate], f"{tap.gate}/Where")
    nodes = [new for index, node in enumerate(model.graph.node) for new in (node, behind.get(index)) if new is not None]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model
