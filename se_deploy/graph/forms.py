"""The canonical form of what stands between a global pool and a gate: pool, FC, elementwise curve, or something else.

    Vector = curve(Pool)  or  curve(Linear(Vector))  or  something unknown, with the reason

A `Vector` also knows where its axes lie: `labels` names each axis of the tensor "N" (batch), "C" (channels, or hidden units), "S" (an
axis of the map that is not reduced yet) or "1". Reshapes, squeezes and transposes change the labels and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from se_deploy.graph.curves import SQUASHING, VARIABLE, Curve
from se_deploy.graph.view import Node

Array = NDArray[np.floating]
Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pool:
    """The mean (or maximum) of a map over some of its axes. `map` is the tensor without the casts and transposes that lead to it."""

    map: str
    rank: int
    axes: frozenset[int]
    channels: int | None
    node: Node
    kind: str = "mean"
    #: A mean of means is the whole map's mean, and that of the map of means, which may be the map that is scaled.
    inner: Pool | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """The map's axes that are left."""
        return tuple(a for a in range(self.rank) if a not in self.axes)

    @property
    def is_global(self) -> bool:
        """Whether batch and channels are all that is left."""
        return len(self.kept) == 2 and self.kept[0] == 0


@dataclass(frozen=True, eq=False)
class Linear:
    """W source + b: weight (out, in), bias (out,)."""

    source: Vector
    weight: Array
    bias: Array
    node: Node


@dataclass(frozen=True, eq=False)
class Unknown:
    """Computed from a pooled map by something that no SE block has: `id` is a reason of `reasons.py`."""

    id: str
    detail: str
    node: Node
    pools: frozenset[str]
    #: Whether a gate could have been meant; False for statistics such as a normalisation's.
    is_gate: bool


@dataclass(frozen=True, eq=False)
class Vector:
    """The value of a tensor that holds one number for each sample and channel."""

    base: Pool | Linear | Unknown
    labels: Labels
    curve: Curve = VARIABLE
    #: Through an Expand: the tensor may be larger than the map that it is multiplied with.
    expanded: bool = False

    @property
    def size(self) -> int | None:
        """How many channels it has, None where that is not known."""
        match self.base:
            case Pool(channels=channels):
                return channels
            case Linear(bias=bias):
                return len(bias)
        return None

    @property
    def pools(self) -> frozenset[str]:
        """The maps that it was pooled from."""
        match self.base:
            case Pool(map=name, inner=inner):
                return frozenset({name} if inner is None else {name, inner.map})
            case Linear(source=source):
                return source.pools
            case Unknown(pools=pools):
                return pools

    @property
    def is_gate(self) -> bool:
        """Whether it can have been meant as a gate: it went through an FC or a squashing function."""
        match self.base:
            case Linear():
                return True
            case Unknown(is_gate=meant):
                return meant
        return bool(self.curve.ops & SQUASHING)

    @property
    def is_plain(self) -> bool:
        """Whether nothing elementwise was done to it."""
        return self.curve is VARIABLE

    def relabelled(self, labels: Labels, expanded: bool = False) -> Vector:
        """The same numbers, its axes elsewhere."""
        return replace(self, labels=labels, expanded=self.expanded or expanded)


def linear(source: Vector, weight: Array, bias: Array | None, node: Node, labels: Labels) -> Vector:
    """W source + b. A scale and a shift in front are folded into it; two FCs with nothing between them become one."""
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    if source.curve.affine is not None:
        scale, shift = source.curve.affine
        if source.curve is not VARIABLE:
            bias = bias + weight @ np.broadcast_to(shift, weight.shape[1:])
            weight = weight * scale
        source = replace(source, curve=VARIABLE)
        if isinstance(source.base, Linear):
            inner = source.base
            return Vector(Linear(inner.source, weight @ inner.weight, weight @ inner.bias + bias, node), labels)
    return Vector(Linear(source, weight, bias, node), labels)


def settled(vector: Vector) -> Vector:
    """With scales and shifts per channel (biases, BatchNorm) moved into the FC in front of them."""
    base, affine = vector.base, vector.curve.affine
    if vector.is_plain or affine is None or not isinstance(base, Linear) or all(a.size == 1 and len(base.bias) > 1 for a in affine):
        return vector
    scale, shift = (np.broadcast_to(a.reshape(-1), base.bias.shape) for a in affine)
    moved = Linear(base.source, base.weight * scale[:, None], base.bias * scale + shift, base.node)
    return replace(vector, base=moved, curve=VARIABLE)
