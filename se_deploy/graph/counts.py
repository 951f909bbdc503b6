"""A sum over a map of open size, divided by the map's size as Shape nodes read it, is its mean."""

from __future__ import annotations

from se_deploy.graph.forms import Pool
from se_deploy.graph.pools import resolve
from se_deploy.graph.view import Dim, View

_HANDS_ON = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"})


def is_count(view: View, name: str, pool: Pool) -> bool:
    """Whether a tensor computed from shapes is the number of elements that a pool sums."""
    factors = _factors(view, name)
    if factors is None or not all(isinstance(factor, Dim) for factor in factors):
        return False
    axes = [_axis(view, factor, pool) for factor in factors if isinstance(factor, Dim)]
    return None not in axes and sorted(a for a in axes if a is not None) == sorted(pool.axes)


def _axis(view: View, dim: Dim, pool: Pool) -> int | None:
    """The pooled map's axis that a size is of."""
    ref = resolve(view, dim.tensor)
    group = ref.axes[dim.axis] if ref is not None and ref.root == pool.map else ()
    return group[0] if len(group) == 1 else None


def _factors(view: View, name: str) -> tuple[int | Dim, ...] | None:
    """The sizes whose product a tensor of one number is."""
    value = view.shape_value(name)
    if value is not None and len(value) == 1:
        return value
    node = view.producer.get(name)
    if node is None:
        return None
    if node.op in _HANDS_ON:
        return _factors(view, node.inputs[0])
    if node.op == "ReduceProd":
        return view.shape_value(node.inputs[0])
    if node.op == "Mul":
        parts = [_factors(view, read) for read in node.inputs]
        return None if None in parts else tuple(factor for part in parts if part is not None for factor in part)
    return None
