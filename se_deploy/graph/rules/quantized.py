"""DequantizeLinear -> block -> QuantizeLinear: the INT8 form of the node, which takes and gives the integers themselves."""

from __future__ import annotations

from dataclasses import dataclass

from se_deploy.graph.pairs import scaling, undone
from se_deploy.graph.view import Node, View


@dataclass(frozen=True)
class Int8:
    """The int8 tensors that the node reads and makes, the scales as its attributes, and the node that quantizes what it makes."""

    x: str
    residual: str | None
    output: str
    attributes: dict[str, float]
    node: Node


def match(view: View, x: str, residual: str | None, output: str) -> Int8 | None:
    """The INT8 form of a block; None unless all that it reads and makes is int8 with one scale and zero point 0."""
    last = view.single_consumer(output)
    given = _dequantized(view, x)
    added = None if residual is None else _dequantized(view, residual)
    made = None if last is None or last.op != "QuantizeLinear" else scaling(view, last)
    if last is None or given is None or made is None or not made.is_symmetric_int8 or (residual is not None and added is None):
        return None
    attributes = {"x_scale": given[1], "y_scale": made.scale} | ({} if added is None else {"residual_scale": added[1]})
    return Int8(given[0], None if added is None else added[0], last.outputs[0], attributes, last)


def through(view: View, name: str) -> tuple[str, tuple[Node, Node]] | None:
    """What a tensor is behind a symmetric pair that alone reads it, and the pair: between the scaled map and the residual's addition."""
    first = view.single_consumer(name)
    if first is None or first.op != "QuantizeLinear":
        return None
    second = view.single_consumer(first.outputs[0])
    if second is None or second.op != "DequantizeLinear":
        return None
    known = undone(view, second)
    return (second.outputs[0], (first, second)) if known is not None and known.is_symmetric_int8 else None


def _dequantized(view: View, name: str) -> tuple[str, float] | None:
    """The int8 tensor that `name` is made of, and its scale."""
    node = view.producer.get(name)
    known = scaling(view, node) if node is not None and node.op == "DequantizeLinear" else None
    if node is None or known is None or not known.is_symmetric_int8 or view.is_constant(node.inputs[0]):
        return None
    return node.inputs[0], known.scale
