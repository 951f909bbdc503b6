"""A float tensor between two nodes that hand each other integers, so that a graph can be cut there; it computes the same.

    before   SqueezeExcite(int8) ── q ─┬─ SqueezeExcite(int8)          after   SqueezeExcite(int8) ── DQ ── x ─┬─ Q ── SqueezeExcite(int8)
                                       └─ DQ ── Conv                                                           └─ Conv

Quantizing what was dequantized with the same scale gives the same integers.
"""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto, NodeProto, helper

from se_deploy.graph.view import ordered

#: What a quantized tensor `x` is called once it is dequantized.
SUFFIX = "/dequantized"


def with_seams(model: ModelProto, wanted: Collection[str]) -> None:
    """Gives tensors of `wanted` that the model has in integers alone a float form of that name, in place."""
    nodes = list(model.graph.node)
    made = {name for node in nodes for name in node.output}
    fresh: list[NodeProto] = []
    for node in nodes:
        name = node.output[0].removesuffix(SUFFIX) if node.output else ""
        if node.op_type == "DequantizeLinear" and name in wanted and name not in made and node.output[0] != name:
            fresh.append(_seam(nodes, node, name))
    if not fresh:
        return
    model.graph.node.extend(fresh)
    order = ordered(model)
    if order is not None:
        del model.graph.node[:]
        model.graph.node.extend(order)


def _seam(nodes: list[NodeProto], dequantize: NodeProto, name: str) -> NodeProto:
    """Lets everyone else read the float tensor `name`, or integers made of it anew; returns what makes these."""
    integers, scale, zero = dequantize.input
    old, again = dequantize.output[0], f"{name}/quantized_again"
    for node in nodes:
        if node is not dequantize:
            node.input[:] = [name if i == old else again if i == integers else i for i in node.input]
    dequantize.output[0] = name
    return helper.make_node("QuantizeLinear", [name, scale, zero], [again], f"{name}/QuantizeLinear")
