"""Element types and shapes of a graph's tensors, without copying its weights: what costs and FP16 stand on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from se_deploy import op

#: Larger initializers are weights: inference needs their shapes, never their values.
_SMALL = 1024


@dataclass(frozen=True)
class Tensor:
    """What is known of a tensor: ONNX's element type, and its shape, None where a size (or the rank) is not known."""

    elem_type: int
    shape: tuple[int | None, ...] | None

    @property
    def size(self) -> int | None:
        """How many elements it has, None where that is not known."""
        known = [dim for dim in self.shape or () if dim is not None]
        return math.prod(known) if self.shape is not None and len(known) == len(self.shape) else None


def network_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """A graph's inputs without those that are weights (before IR version 4 every initializer was an input too)."""
    weights = {i.name for i in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def tensor_of(value: ValueInfoProto) -> Tensor | None:
    """What a declaration says; None for what is not a tensor (sequences, optionals) or has no element type."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.elem_type:
        return None
    declared = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in declared.shape.dim)
    return Tensor(declared.elem_type, shape if declared.HasField("shape") else None)


def infer(model: ModelProto, sizes: Mapping[str, Sequence[int]] | None = None) -> dict[str, Tensor]:
    """Types and shapes of the tensors of the model's main graph.

    Args:
        model: any model; it is not changed, and may be larger than 2 GB.
        sizes: whole shapes of network inputs, by name; other inputs have the shape they declare.

    Returns:
        By name, every tensor that onnx.shape_inference could tell something about; inputs and weights included.
    """
    inferred = onnx.shape_inference.infer_shapes(_light(model, sizes or {}), data_prop=True).graph
    known: dict[str, Tensor] = {i.name: Tensor(i.data_type, tuple(i.dims)) for i in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = tensor_of(value)
        if tensor is not None:
            known[value.name] = tensor
    return known


def _light(model: ModelProto, sizes: Mapping[str, Sequence[int]]) -> ModelProto:
    """A copy for inference alone: large weights are inputs, a SqueezeExcite node is an Identity, nothing but inputs has a shape."""
    graph = model.graph
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.functions.extend(f for f in model.functions if f.domain != op.DOMAIN)
    light.graph.name = "light"
    light.graph.node.extend(_plain(node) for node in graph.node)
    for value in network_inputs(graph):
        shape = sizes.get(value.name)
        light.graph.input.append(
            value if shape is None else helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)
        )
    for weight in graph.initializer:
        if math.prod(weight.dims) > _SMALL:
            light.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
        else:
            light.graph.initializer.append(weight)
    light.graph.output.extend(ValueInfoProto(name=value.name) for value in graph.output)
    return light


def _plain(node: NodeProto) -> NodeProto:
    """y is like x; inference through the function's Reshape would lose that where a size is not known."""
    if op.variant_of(node) is None:
        return node
    return helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)
