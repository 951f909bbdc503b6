"""What reshapes, squeezes, transposes and expands do to the axes of a vector."""

from __future__ import annotations

from itertools import combinations

from se_deploy.graph.forms import Labels, Vector
from se_deploy.graph.view import Dim, Node, View

SHAPERS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand"})


def shaped(view: View, node: Node, vector: Vector) -> Vector | None:
    """The vector behind a node that changes its shape; None where samples and channels do not stay what they are."""
    labels = vector.labels
    match node.op:
        case "Transpose":
            if "S" in labels:
                return None
            perm = node.get("perm", list(range(len(labels)))[::-1])
            return vector.relabelled(tuple(labels[p] for p in perm))
        case "Unsqueeze":
            return _moved(vector, _unsqueezed(labels, view.axes(node)))
        case "Squeeze":
            return _moved(vector, _squeezed(view, node, vector))
        case "Flatten":
            return _moved(vector, _flattened(labels, node.get("axis", 1)))
        case "Expand":
            target = view.shape_value(node.input(1))
            width = len(labels) if target is None else max(len(target), len(labels))
            rank = view.rank(node.outputs[0]) or width
            return vector.relabelled(("1",) * (rank - len(labels)) + labels, expanded=True)
    return _moved(vector, _reshaped(view, node, vector))


def _moved(vector: Vector, labels: Labels | None) -> Vector | None:
    return None if labels is None else vector.relabelled(labels)


def _unsqueezed(labels: Labels, axes: tuple[int, ...] | None) -> Labels | None:
    if axes is None:
        return None
    rank = len(labels) + len(axes)
    new = {a % rank for a in axes}
    rest = iter(labels)
    return tuple("1" if i in new else next(rest) for i in range(rank))


def _squeezed(view: View, node: Node, vector: Vector) -> Labels | None:
    labels, axes = vector.labels, view.axes(node)
    if axes is None:
        # Without axes every axis of size 1 goes: batch and channels too, where they are 1.
        shape = view.shape(node.inputs[0])
        if shape is None or any(shape[i] == 1 for i, label in enumerate(labels) if label != "1"):
            return None
        return tuple(label for label in labels if label != "1")
    gone = {a % len(labels) for a in axes}
    return tuple(label for i, label in enumerate(labels) if i not in gone) if all(labels[i] == "1" for i in gone) else None


def _flattened(labels: Labels, axis: int) -> Labels | None:
    axis = axis % len(labels) if axis < 0 else axis
    halves = []
    for half in (labels[:axis], labels[axis:]):
        named = [label for label in half if label != "1"]
        if len(named) > 1:
            return None
        halves.append(named[0] if named else "1")
    return tuple(halves)


def _reshaped(view: View, node: Node, vector: Vector) -> Labels | None:
    """The labels behind a Reshape: batch and channels in their order, everything else 1."""
    target = view.shape_value(node.input(1)) if node.input(1) else tuple(node.get("shape", ()))
    named = tuple(label for label in vector.labels if label != "1")
    if target is None or "S" in named or node.get("allowzero", 0):
        return _by_shape(view, node, named)
    for places in combinations(range(len(target)), len(named)):
        labels = ["1"] * len(target)
        for place, label in zip(places, named, strict=True):
            labels[place] = label
        if _is_possible(view, node, vector, target, labels):
            return tuple(labels)
    return _by_shape(view, node, named)


def _is_possible(view: View, node: Node, vector: Vector, target: tuple[int | Dim, ...], labels: list[str]) -> bool:
    """Whether a target makes every labelled axis what it is called. N·C elements: one size known to fit leaves the other no choice."""
    exact = {label: False for label in labels if label != "1"}
    for i, (entry, label) in enumerate(zip(target, labels, strict=True)):
        if entry == 0:
            entry_label = vector.labels[i] if i < len(vector.labels) else ""
            if entry_label != label:
                return False
            exact[label] = True
        elif label == "1":
            if entry != 1:
                return False
        elif isinstance(entry, Dim):
            exact[label] = label == "N" and entry.axis == 0
        elif entry != -1:
            if entry != _size(view, node, vector, label):
                return False
            exact[label] = True
    return sum(exact.values()) >= len(exact) - 1 and all(label != "S" for label in labels)


def _size(view: View, node: Node, vector: Vector, label: str) -> int | str | None:
    if label == "C":
        return vector.size
    shape = view.shape(node.inputs[0])
    return None if shape is None else shape[vector.labels.index("N")]


def _by_shape(view: View, node: Node, named: Labels) -> Labels | None:
    """Where the target says nothing: the inferred shapes' sizes other than 1 must be the same, in the same order."""
    before, after = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if before is None or after is None or None in before or None in after:
        return None
    if [d for d in before if d != 1] != [d for d in after if d != 1] or len([d for d in before if d != 1]) != len(named):
        return None
    rest = iter(named)
    return tuple("1" if d == 1 else next(rest) for d in after)
