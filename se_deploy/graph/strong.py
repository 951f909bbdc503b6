"""What a strongly typed network (TensorRT's) wants of an ONNX file: told with the rule's name and the node, before TensorRT sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnx import ModelProto, TensorProto

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph.precision import is_mean
from se_deploy.graph.view import Node, View

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_REMEDY = "quantize with `se-deploy build --int8`, which keeps the rules, or mend the file"

#: What is wrong with a node by one rule; None where nothing is.
Rule = Callable[[View, Node], str | None]


def check(model: ModelProto) -> None:
    """Checks every rule on every node.

    Raises:
        GraphError: one is broken; names the rule, the node, and how many others break any.
    """
    broken = list(_broken(View(model)))
    if broken:
        more = f" ({len(broken)} in all)" if len(broken) > 1 else ""
        raise GraphError(f"TensorRT's rule {broken[0]}{more}", _REMEDY)


def _broken(view: View) -> Iterator[str]:
    for node in view.nodes:
        for name, rule in RULES.items():
            problem = rule(view, node)
            if problem is not None:
                yield f"{name}: {node.name} ({node.proto.op_type}): {problem}"


def _int8(view: View, node: Node) -> str | None:
    """Integers are int8."""
    if node.op not in _PAIR:
        return None
    integers = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    kind = view.elem_type(integers)
    if kind in (TensorProto.INT8, None, 0):
        return None
    return f"{integers} is {TensorProto.DataType.Name(kind).lower()}, not int8"


def _zero_point(view: View, node: Node) -> str | None:
    """Zero points are constant zeros."""
    if node.op not in _PAIR or not node.input(2):
        return None
    value = view.constant(node.input(2))
    if value is None:
        return f"its zero point {node.input(2)} is not constant"
    return f"its zero point is {value.reshape(-1)[value.reshape(-1) != 0][0]}" if value.any() else None


def _per_channel(view: View, node: Node) -> str | None:
    """Only weights have a scale for each channel."""
    if node.op not in _PAIR or view.is_constant(node.inputs[0]):
        return None
    scale = view.constant(node.input(1))
    if scale is None:
        return f"its scale {node.input(1)} is not constant"
    return f"{node.inputs[0]} is no weight and has {scale.size} scales" if scale.size > 1 else None


def _scale_type(view: View, node: Node) -> str | None:
    """A scale has the type of what is quantized."""
    if node.op != "QuantizeLinear":
        return None
    kinds = [view.elem_type(node.inputs[0]), view.elem_type(node.input(1))]
    if not all(kinds) or kinds[0] == kinds[1]:
        return None
    what, scale = (TensorProto.DataType.Name(kind or 0).lower() for kind in kinds)
    return f"{node.inputs[0]} is {what}, its scale is {scale}"


def _residual(view: View, node: Node) -> str | None:
    """Both inputs of a residual add are quantized, or neither."""
    if node.op != "Add" or any(view.is_constant(name) for name in node.inputs):
        return None
    made = [view.producer.get(name) for name in node.inputs]
    quantized = [n is not None and n.op == "DequantizeLinear" for n in made]
    return f"{node.inputs[quantized.index(False)]} is not quantized, the other input is" if any(quantized) and not all(quantized) else None


def _fp32_reduce(view: View, node: Node) -> str | None:
    """Means are FP32."""
    if not is_mean(node) or view.elem_type(node.inputs[0]) != TensorProto.FLOAT16:
        return None
    return f"sums {node.inputs[0]} in FP16, which ends at 65504"


def _creator(_view: View, node: Node) -> str | None:
    """A node of ours is one that the plugin knows."""
    proto = node.proto
    return f"the plugin has no {proto.op_type}" if proto.domain == op.DOMAIN and op.variant_of(proto) is None else None


RULES: dict[str, Rule] = {
    "int8": _int8,
    "zero-point-0": _zero_point,
    "per-channel-weights": _per_channel,
    "scale-type": _scale_type,
    "residual-both": _residual,
    "fp32-reduce": _fp32_reduce,
    "creator": _creator,
}
