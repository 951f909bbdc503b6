"""Shapes with symbols: which sizes are known, and which are known to be equal though not known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from se_deploy import op

Shape = tuple[int | str | None, ...]

#: Larger initializers are weights: inference needs their shapes, never their values.
_SMALL = 1024


@dataclass(frozen=True)
class Sizes:
    """By tensor: element type, and shape (an int, a symbol, or None for each axis)."""

    types: dict[str, int]
    shapes: dict[str, Shape]


def infer(model: ModelProto) -> Sizes:
    """Types and shapes of the main graph's tensors, weights included; what inference cannot tell is left out."""
    light = _light(model)
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        graph = light.graph
    sizes = Sizes({i.name: i.data_type for i in model.graph.initializer}, {i.name: tuple(i.dims) for i in model.graph.initializer})
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            sizes.types.setdefault(value.name, tensor.elem_type)
        if tensor.HasField("shape"):
            sizes.shapes.setdefault(value.name, tuple(_dim(d) for d in tensor.shape.dim))
    return sizes


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return str(dim.dim_param) or None


def _light(model: ModelProto) -> ModelProto:
    """The model without its weights' values. Recorded shapes stay: an exporter's symbols say which unknown sizes are equal."""
    graph = model.graph
    light = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    light.functions.extend(f for f in model.functions if f.domain != op.DOMAIN)
    light.graph.name = "light"
    light.graph.node.extend(_plain(node) for node in graph.node)
    weights = {i.name for i in graph.initializer}
    light.graph.input.extend(value for value in graph.input if value.name not in weights)
    for weight in graph.initializer:
        if math.prod(weight.dims) > _SMALL:
            light.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
        else:
            light.graph.initializer.append(weight)
    light.graph.value_info.extend(value for value in graph.value_info if value.name not in weights)
    light.graph.output.extend(ValueInfoProto(name=value.name) for value in graph.output)
    return light


def _plain(node: NodeProto) -> NodeProto:
    """y is like x; inference through the function's Reshape would lose that where a size is not known."""
    if op.variant_of(node) is None:
        return node
    return helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)
