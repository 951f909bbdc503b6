"""What acts on a map channel by channel and is no gate of its mean: a window's mean, a gate from elsewhere, an added context."""

from __future__ import annotations

from se_deploy.graph.canonical import Canonical
from se_deploy.graph.layers import LAYERS
from se_deploy.graph.pools import resolve
from se_deploy.graph.rules import Miss
from se_deploy.graph.view import Node

_GATES = frozenset({"Sigmoid", "HardSigmoid", "Tanh", "Softmax", "Clip"})
_WINDOWS = frozenset({"AveragePool", "MaxPool"})
#: Pool, two layers with an activation, a resize, and what may stand between.
_LONGEST = 12
#: A context's nodes: attention over positions, two layers with a normalisation, reshapes.
_CONTEXT = 24


def reason(form: Canonical, mul: Node) -> Miss | None:
    """Why a node on a map is no SE block; None where it does not look like one (SiLU, attention over positions)."""
    if mul.op == "Add" and len(mul.inputs) == 2:
        return _added(form, mul)
    if mul.op != "Mul" or len(mul.inputs) != 2:
        return None
    for gate, other in (mul.inputs, mul.inputs[::-1]):
        squash = _squash(form, gate)
        if squash is None or form.view.is_constant(other):
            continue
        if _has_local_pool(form, squash, other):
            return Miss("pool-local")
        if _is_per_channel(form, gate, other):
            return Miss("gate-not-pooled", squash.name)
    return None


def _added(form: Canonical, add: Node) -> Miss | None:
    """A vector of layers on the map itself that is added to it, as in global context blocks."""
    for vector, other in (add.inputs, add.inputs[::-1]):
        if _is_per_channel(form, vector, other) and not form.view.is_constant(vector) and _is_computed_from(form, vector, other):
            return Miss("added", add.name)
    return None


def _is_computed_from(form: Canonical, name: str, source: str) -> bool:
    """Whether a tensor comes from another by a few nodes, a layer among them."""
    ref = resolve(form.view, source)
    waiting, seen, layered = [name], set[str](), False
    while waiting and len(seen) < _CONTEXT:
        name = waiting.pop()
        seen.add(name)
        found = resolve(form.view, name)
        if ref is not None and found is not None and found.root == ref.root:
            return layered
        node = form.view.producer.get(name)
        if node is None:
            continue
        layered |= node.op in LAYERS
        waiting += [i for i in node.inputs if i and i not in seen and not form.view.is_constant(i) and not form.view.is_shape(i)]
    return False


def _squash(form: Canonical, name: str) -> Node | None:
    """The squashing node that a tensor comes from, through nodes that hand it on."""
    while (node := form.view.producer.get(name)) is not None:
        if node.op in _GATES:
            return node
        if not form.view.is_same(node) and node.op not in ("Resize", "Upsample", "Unsqueeze", "Reshape", "Expand"):
            return None
        name = node.inputs[0]
    return None


def _has_local_pool(form: Canonical, squash: Node, other: str) -> bool:
    """Whether the gate goes back to a window's pool of the map that it scales."""
    ref = resolve(form.view, other)
    name = squash.inputs[0]
    for _ in range(_LONGEST):
        node = form.view.producer.get(name)
        if node is None or ref is None:
            return False
        name = node.inputs[0] if node.inputs else ""
        if node.op in _WINDOWS:
            source = resolve(form.view, name)
            return source is not None and source.root == ref.root
    return False


def _is_per_channel(form: Canonical, gate: str, other: str) -> bool:
    """Whether the gate is (N, C, 1, 1), C > 1, and the map is not."""
    small, large = form.view.shape(gate), form.view.shape(other)
    if small is None or large is None or len(small) != len(large) or len(small) < 3:
        return False
    return all(s == 1 for s in small[2:]) and small[1] != 1 and any(s != 1 for s in large[2:])
