"""SqueezeExcite nodes in INT8 form: the Q/DQ pairs around a node go into it.

    before   x_q ── DQ ──┐                                after   x_q ────────────┐
             r_q ── DQ ── SqueezeExcite ── Q ── y_q               r_q ── SqueezeExcite_int8(x_scale, …) ── y_q

TensorRT folds no Q/DQ into a plugin: a node that is to move one byte per element has to say so itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from se_deploy import op


def absorb(model: ModelProto) -> None:
    """Gives every SqueezeExcite node that stands between per-tensor int8 pairs its INT8 form; others stay as they are."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    gone: list[NodeProto] = []
    for index, node in enumerate(graph.node):
        after = readers.get(node.output[0], []) if op.variant_of(node) else []
        if len(after) == 1 and (integer := _integer(node, after[0], made, known)) is not None:
            graph.node[index].CopyFrom(integer)
            gone.append(after[0])
    for node in gone:
        graph.node.remove(node)
    drop_unused(graph)
    op.declare(model)


def _integer(node: NodeProto, after: NodeProto, made: dict[str, NodeProto], known: dict[str, TensorProto]) -> NodeProto | None:
    """The node in INT8 form, giving what the QuantizeLinear behind it gave; None where it does not stand between pairs."""
    variant = op.variant_of(node)
    if variant is None or variant.int8 or after.op_type != "QuantizeLinear" or after.input[0] != node.output[0]:
        return None
    inputs, attributes = list(node.input), op.attributes_of(node)
    for position, name in enumerate(variant.inputs):
        if name not in ("x", "residual"):
            continue
        before = made.get(node.input[position])
        scale = _scale(before, known) if before is not None and before.op_type == "DequantizeLinear" else None
        if before is None or scale is None:
            return None
        inputs[position], attributes[f"{name}_scale"] = before.input[0], scale
    y_scale = _scale(after, known)
    if y_scale is None:
        return None
    attributes["y_scale"] = y_scale
    return op.make_node(replace(variant, int8=True), inputs, after.output[0], node.name, attributes)


def _scale(pair: NodeProto, known: dict[str, TensorProto]) -> float | None:
    """A pair's scale where it is one number with an int8 zero point of 0."""
    scale, zero = (known.get(name) for name in _padded(pair.input)[1:3])
    if scale is None or zero is None or scale.dims or zero.data_type != TensorProto.INT8 or numpy_helper.to_array(zero).any():
        return None
    return float(numpy_helper.to_array(scale))


def _padded(inputs: Sequence[str]) -> list[str]:
    return [*inputs, "", ""][:3]


def drop_unused(graph: GraphProto) -> None:
    """Removes constants and DequantizeLinear nodes that nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [n for n in graph.node if n.op_type in ("Constant", "DequantizeLinear") and n.output[0] not in read]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
