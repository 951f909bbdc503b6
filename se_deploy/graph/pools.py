"""Means over the map, however they are spelled, and which map they are of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from se_deploy.graph import curves
from se_deploy.graph.forms import Pool, Vector
from se_deploy.graph.view import Dim, Node, View

_REDUCED_MEAN = frozenset({"ReduceMean", "ReduceSum"})
_REDUCED_MAX = frozenset({"ReduceMax"})
_GLOBAL = {"GlobalAveragePool": "mean", "GlobalMaxPool": "max"}
POOLS = _REDUCED_MEAN | _REDUCED_MAX | set(_GLOBAL) | {"AveragePool", "MaxPool"}


@dataclass(frozen=True)
class MapRef:
    """A tensor seen through casts, transposes and flattened spatial axes: `axes` holds, for each of its axes, the root's axes in it."""

    root: str
    axes: tuple[tuple[int, ...], ...]


def resolve(view: View, name: str) -> MapRef | None:
    """The tensor that `name` shows in another type or order; None where its rank is not known."""
    rank = view.rank(name)
    if rank is None:
        return None
    axes: tuple[tuple[int, ...], ...] = tuple((i,) for i in range(rank))
    while (node := view.producer.get(name)) is not None:
        if view.is_same(node):
            name = node.inputs[0]
        elif node.op == "Transpose":
            perm = node.get("perm", list(range(view.rank(name) or 0))[::-1])
            axes = tuple(tuple(perm[a] for a in group) for group in axes)
            name = node.inputs[0]
        elif node.op in ("Reshape", "Flatten") and (merged := _merged(view, node)) is not None:
            axes = tuple(tuple(b for a in group for b in merged[a]) for group in axes)
            name = node.inputs[0]
        elif (quantized := _quantized(view, node)) is not None:
            name = quantized
        else:
            break
    return MapRef(name, axes)


def _quantized(view: View, node: Node) -> str | None:
    """The integer tensor that a DequantizeLinear reads: two of them on one tensor show the same map."""
    return node.inputs[0] if node.op == "DequantizeLinear" and node.inputs[0] in view.producer else None


def _merged(view: View, node: Node) -> tuple[tuple[int, ...], ...] | None:
    """For a Reshape that flattens neighbouring spatial axes into one: the old axes in each new one."""
    shape = view.shape(node.inputs[0])
    target = view.shape_value(node.input(1)) if node.op == "Reshape" else None
    if shape is None or target is None or not 3 <= len(target) < len(shape):
        return None
    span = len(shape) - len(target) + 1
    for at in range(1, len(target)):
        groups = tuple((i,) for i in range(at)) + (tuple(range(at, at + span)),) + tuple((i,) for i in range(at + span, len(shape)))
        sizes = [shape[g[0]] if len(g) == 1 else _product([shape[i] for i in g]) for g in groups]
        fits = [_fits(entry, sizes[i], i, groups[i]) for i, entry in enumerate(target)]
        if sum(not f for f in fits) == 0 or (sum(not f for f in fits) == 1 and target[fits.index(False)] == -1):
            return groups
    return None


def _product(sizes: list[int | str | None]) -> int | None:
    known = [s for s in sizes if isinstance(s, int)]
    return prod(known) if len(known) == len(sizes) else None


def _fits(entry: int | Dim, size: int | str | None, place: int, group: tuple[int, ...]) -> bool:
    if isinstance(entry, Dim):
        return len(group) == 1 and entry.axis == group[0]
    return (entry == 0 and group == (place,)) or (entry == size and entry > 0)


def pooled(view: View, node: Node) -> Vector | None:
    """The vector that a pool makes of a map; None for a node that pools nothing, or through a window."""
    ref = resolve(view, node.inputs[0])
    if ref is None or len(ref.axes) < 3:
        return None
    rank = len(ref.axes)
    axes = _axes(view, node, rank)
    if not axes or set(axes) == {1} or 0 in axes:
        return None
    reduced = frozenset(a for i in axes for a in ref.axes[i])
    if 0 in reduced:
        return None
    kind = "max" if node.op in ("ReduceMax", "GlobalMaxPool", "MaxPool") else "mean"
    whole = sum(len(group) for group in ref.axes)
    kept = [a for a in range(whole) if a not in reduced]
    shape = view.shape(node.inputs[0])
    channels = _channels(ref, shape, kept[1]) if len(kept) == 2 else None
    pool = Pool(ref.root, whole, reduced, channels, node, kind)
    names = {a: "C" if len(kept) == 2 else "S" for a in kept} | {0: "N"}
    if len(kept) > 2:
        names[_likely_channel(kept, reduced)] = "C"
    labels = tuple("1" if i in axes else names[group[0]] if len(group) == 1 else "S" for i, group in enumerate(ref.axes))
    vector = Vector(pool, labels)
    return _counted(view, node, vector, [shape[i] if shape else None for i in axes])


def _likely_channel(kept: list[int], reduced: frozenset[int]) -> int:
    """With spatial axes left: channels come second, or last where the second axis is being reduced."""
    return 1 if 1 in kept else kept[-1] if reduced else 1


def _channels(ref: MapRef, shape: tuple[int | str | None, ...] | None, axis: int) -> int | None:
    if shape is None:
        return None
    size = shape[ref.axes.index((axis,))] if (axis,) in ref.axes else None
    return size if isinstance(size, int) else None


def _axes(view: View, node: Node, rank: int) -> tuple[int, ...]:
    """Which axes a node reduces to 1 (or away); () where it does not, or cannot be known to."""
    if node.op in _GLOBAL:
        return tuple(range(2, rank))
    if node.op in ("AveragePool", "MaxPool"):
        shape = view.shape(node.inputs[0])
        window = tuple(node.get("kernel_shape", ()))
        whole = shape is not None and tuple(shape[2:]) == window and not any(node.get("pads", ()))
        plain = node.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and set(node.get("dilations", [1])) == {1}
        return tuple(range(2, rank)) if whole and plain and len(node.outputs) == 1 else ()
    axes = view.axes(node)
    return () if axes is None else tuple(sorted(a % rank for a in axes))


def _counted(view: View, node: Node, vector: Vector, sizes: list[int | str | None]) -> Vector | None:
    """Without the axes of size 1 that were not kept; a sum is the mean times the number of elements, where that is known."""
    axes = [i for i, label in enumerate(vector.labels) if label == "1"]
    if node.op.startswith("Reduce") and not node.get("keepdims", 1):
        vector = replace(vector, labels=tuple(label for i, label in enumerate(vector.labels) if i not in axes))
    if node.op != "ReduceSum":
        return vector
    count = _product(sizes)
    if count is None:
        return replace(vector, base=replace(vector.base, kind="sum")) if isinstance(vector.base, Pool) else None
    curve = curves.apply("Mul", (vector.curve, curves.scalar(float(count))), {})
    return None if curve is None else replace(vector, curve=curve)


def again(view: View, node: Node, vector: Vector) -> Vector | None:
    """A pool of a vector: nothing happens over axes of size 1; the mean over the axes that are left completes a partial mean."""
    rank = len(vector.labels)
    axes = _axes(view, node, rank) if node.op.startswith("Reduce") or node.op in _GLOBAL else ()
    if not axes or any(vector.labels[a] in ("N", "C") for a in axes) or node.op == "ReduceSum":
        return None
    pool, labels = vector.base, vector.labels
    if any(labels[a] == "S" for a in axes):
        if not isinstance(pool, Pool) or not vector.is_plain or pool.kind != "mean" or node.op not in ("ReduceMean", "GlobalAveragePool"):
            return None
        left = [i for i, label in enumerate(labels) if label == "S" and i not in axes]
        if left:
            return None
        channel = _channel_axis(pool, labels)
        shape = view.shape(node.inputs[0])
        size = shape[labels.index("C")] if shape else None
        pool = Pool(pool.map, pool.rank, frozenset(range(1, pool.rank)) - {channel}, size if isinstance(size, int) else None, node)
    after = tuple("1" if i in axes else label for i, label in enumerate(labels))
    if node.op.startswith("Reduce") and not node.get("keepdims", 1):
        after = tuple(label for i, label in enumerate(after) if i not in axes)
    return replace(vector, base=pool, labels=after)


def _channel_axis(pool: Pool, labels: tuple[str, ...]) -> int:
    """The map's axis that a partial mean's "C" is: the kept axes come in their order unless a transpose came between."""
    named = [label for label in labels if label != "1"]
    return pool.kept[named.index("C")]
