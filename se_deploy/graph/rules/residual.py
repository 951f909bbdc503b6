"""x * g + residual, and x * g + x: the addition behind a block, taken along where that changes nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from se_deploy.graph.canonical import Canonical
from se_deploy.graph.pools import resolve
from se_deploy.graph.view import Node


@dataclass(frozen=True)
class Residual:
    """The addition: skip is a word of `op.SKIPS`; `tensor` is what is added, None where it is x."""

    node: Node
    skip: str
    tensor: str | None


def match(form: Canonical, scaled: str, x: str) -> Residual | None:
    """The addition behind the scaled map. It is left outside where somebody else reads the map, or where it may broadcast.

    As the scaled map has one reader, what is added cannot depend on it.
    """
    view = form.view
    node = view.single_consumer(scaled)
    if node is None or node.op not in ("Add", "Sum") or len(node.inputs) != 2:
        return None
    other = node.inputs[1 - node.inputs.index(scaled)]
    if view.is_constant(other):
        return None
    if resolve(view, other) == resolve(view, x) is not None and view.elem_type(other) == view.elem_type(x):
        return Residual(node, "self", None)
    return Residual(node, "add", other) if form.sizing.are_alike(other, x) else None
