"""relu, silu or hardswish behind a block, spelled in one node or several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from se_deploy.graph import curves
from se_deploy.graph.curves import ELEMENTWISE, VARIABLE, Curve
from se_deploy.graph.view import Node, View

_TAKEN = ("relu", "silu", "hardswish")
#: hardswish spelled out is the longest: Add, Clip, Mul, Div.
_MOST_NODES = 5


@dataclass(frozen=True)
class Epilogue:
    """The activation: its word of `op.EPILOGUES`, its nodes, and what it makes."""

    act: str
    nodes: tuple[Node, ...]
    output: str


def match(view: View, name: str) -> Epilogue | None:
    """The activation that all readers of a tensor compute together; None where there is another reader or another function."""
    known: dict[str, Curve] = {name: VARIABLE}
    taken: dict[Node, None] = {}
    while len(taken) < _MOST_NODES:
        node = _next(view, known, taken)
        curve = None if node is None else _curve(view, node, known)
        if node is None or curve is None:
            return None
        taken[node] = None
        known[node.outputs[0]] = curve
        if _is_closed(view, known, taken, node.outputs[0]):
            found = curves.activation(curve)
            if found is not None and found.act in _TAKEN:
                return Epilogue(found.act, tuple(taken), node.outputs[0])
    return None


def _next(view: View, known: dict[str, Curve], taken: dict[Node, None]) -> Node | None:
    """The first node in the graph's order that reads what is known and is not taken yet."""
    readers = [r for name in known for r in view.consumers.get(name, []) if r not in taken]
    return min(readers, key=view.position.__getitem__, default=None)


def _curve(view: View, node: Node, known: dict[str, Curve]) -> Curve | None:
    """The node's curve; None where it is not elementwise or reads something else, or a constant that is no scalar."""
    if view.is_same(node) and node.op == "Identity":
        return known.get(node.inputs[0])
    if node.op not in ELEMENTWISE:
        return None
    args: list[Curve | curves.Array] = []
    for place, name in enumerate(node.inputs):
        if name in known:
            args.append(known[name])
            continue
        value = view.constant(name) if name else np.asarray((0, -np.inf, np.inf)[place])
        if value is None or value.size != 1:
            return None
        args.append(np.asarray(value.reshape(()), np.float64))
    return curves.apply(node.op, tuple(args), node.attributes)


def _is_closed(view: View, known: dict[str, Curve], taken: dict[Node, None], last: str) -> bool:
    """Whether nobody but the taken nodes reads what they make, the last result aside."""
    return all(name not in view.outputs and all(r in taken for r in view.consumers.get(name, [])) for name in known if name != last)
