"""One pass over a graph that brings everything computed from a pooled map into canonical form (`forms.py`).

What it collects are the places where such a vector, or something that looks like a gate, multiplies a map: the candidates that the
rules of `rules/` judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from se_deploy.graph import curves
from se_deploy.graph.counts import is_count
from se_deploy.graph.curves import ELEMENTWISE, Curve
from se_deploy.graph.extents import Sizing
from se_deploy.graph.forms import Labels, Pool, Unknown, Vector, settled
from se_deploy.graph.labels import SHAPERS, shaped
from se_deploy.graph.layers import LAYERS, NoLayer, layered
from se_deploy.graph.pairs import PAIRS, is_never_negative, scaling, undone
from se_deploy.graph.pools import POOLS, again, pooled, resolve
from se_deploy.graph.view import Node, View


@dataclass(frozen=True)
class Candidate:
    """A Mul of a map with a vector."""

    mul: Node
    map: str
    gate: str
    vector: Vector


class Canonical:
    """The vectors of a graph by tensor name, and the candidates in the graph's order."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.vectors: dict[str, Vector] = {}
        self.candidates: list[Candidate] = []
        for node in view.nodes:
            self._visit(node)

    @cached_property
    def sizing(self) -> Sizing:
        """Which sizes are equal; found when first asked for."""
        return Sizing(self.view)

    def _visit(self, node: Node) -> None:
        if len(node.outputs) == 0 or self.view.is_constant(node.outputs[0]) or self.view.is_shape(node.outputs[0]):
            return
        if node.op in POOLS and (fresh := self._pool(node)) is not None:
            self.vectors[node.outputs[0]] = fresh
            return
        read = [self.vectors[name] for name in node.inputs if name in self.vectors]
        if not read or self._scales_map(node):
            return
        for output in node.outputs:
            vector = self._step(node, output, read)
            if vector is not None:
                self.vectors[output] = vector

    def _pool(self, node: Node) -> Vector | None:
        """A pool of a map; or of a vector that may as well be one: decoded from a pooled vector, or not wholly reduced."""
        vector = self.vectors.get(node.inputs[0])
        if vector is None:
            return pooled(self.view, node)
        known = again(self.view, node, vector)
        if known is None and (isinstance(vector.base, Unknown) or "S" in vector.labels):
            return pooled(self.view, node)
        if known is not None and known.base is not vector.base:
            fresh = pooled(self.view, node)
            if isinstance(known.base, Pool) and fresh is not None and isinstance(fresh.base, Pool):
                return replace(known, base=replace(known.base, inner=fresh.base))
        return known

    def _scales_map(self, node: Node) -> bool:
        """Notes a Mul of a vector with a map. Both may be vectors where one is a map decoded from a pooled vector."""
        if node.op != "Mul" or len(node.inputs) != 2:
            return False
        for gate, other in (node.inputs, node.inputs[::-1]):
            vector = self.vectors.get(gate)
            if vector is None or self.view.is_constant(other):
                continue
            if other in self.vectors and not self._is_pooled_from(vector, other):
                continue
            if other not in self.vectors and not self._is_pooled_from(vector, other) and self._is_small(other):
                continue
            self.candidates.append(Candidate(node, other, gate, vector))
            return True
        return False

    def _is_pooled_from(self, vector: Vector, name: str) -> bool:
        ref = resolve(self.view, name)
        return ref is not None and ref.root in vector.pools

    def _is_small(self, name: str) -> bool:
        """Whether a tensor is as small as a vector: at most one axis beside the batch is longer than 1."""
        shape = self.view.shape(name)
        return shape is not None and sum(size != 1 for size in shape[1:]) <= 1

    def _step(self, node: Node, output: str, read: list[Vector]) -> Vector | None:
        """The vector that a node makes of vectors; None where what it makes is a map."""
        others = [n for n in node.inputs if n and n not in self.vectors and not self.view.is_constant(n) and not self.view.is_shape(n)]
        first = read[0]
        if others:
            if node.op in LAYERS:
                return self._unknown(node, output, read, "weights-not-constant", others[0])
            return self._unknown(node, output, read, "other-input", others[0]) if all(map(self._is_small, others)) else None
        blocked = next((v.base for v in read if isinstance(v.base, Unknown)), None)
        if blocked is not None and node.op == "Expand":  # as large as a map, and no map
            return first
        if blocked is not None:
            said = blocked.id not in _VAGUE or node.op not in _ODD
            return self._unknown(node, output, read, *((blocked.id, blocked.detail) if said else (_ODD[node.op], node.op)))
        if self.view.is_same(node):
            return first
        if node.op in PAIRS:
            return self._rounded(node, first) or self._unknown(node, output, read, "quantized", node.name)
        if node.op in SHAPERS and node.inputs[0] in self.vectors:
            return shaped(self.view, node, first) or self._unknown(node, output, read, "reshaped")
        if node.op in LAYERS:
            try:
                return layered(self.view, node, first)
            except NoLayer as miss:
                return self._unknown(node, output, read, miss.reason, miss.detail)
        if node.op in ELEMENTWISE:
            return self._elementwise(node, output, read)
        return self._unknown(node, output, read, _ODD.get(node.op, "other-op"), node.op)

    def _rounded(self, node: Node, vector: Vector) -> Vector | None:
        """A pair's half on a vector: seen through, but for the Relu that a pair which cuts at zero may stand for."""
        if node.op == "DequantizeLinear":
            return vector if undone(self.view, node) is not None else None
        known = scaling(self.view, node)
        if known is None or not known.cuts_at_zero:
            return vector if known is not None else None
        if isinstance(vector.base, Pool) and vector.is_plain and is_never_negative(self.view, vector.base.map):
            return vector
        curve = curves.apply("Relu", (vector.curve,), {})
        return None if curve is None else replace(vector, curve=curve)

    def _elementwise(self, node: Node, output: str, read: list[Vector]) -> Vector | None:
        """One more step of the curve, if all vectors that the node reads are curves of the same one and lie alike."""
        first = read[0]
        if any(v.base is not first.base for v in read):
            return self._unknown(node, output, read, "two-branches", node.op)
        if node.op == "Div" and isinstance(first.base, Pool) and first.base.kind == "sum" and first.is_plain:
            is_mean = node.inputs[0] in self.vectors and is_count(self.view, node.inputs[1], first.base)
            return replace(first, base=replace(first.base, kind="mean")) if is_mean else self._unknown(node, output, read, "pool-sum")
        ranks = [len(v.labels) for v in read] + [c.ndim for n in node.inputs if (c := self.view.constant(n)) is not None]
        labels = _widened(first.labels, max(ranks))
        if any(_widened(v.labels, max(ranks)) != labels for v in read):
            return self._unknown(node, output, read, "reshaped")
        args: list[Curve | curves.Array] = []
        for place, name in enumerate(node.inputs):
            if name in self.vectors:
                args.append(self.vectors[name].curve)
                continue
            constant = self._along(name, labels) if name else curves.scalar((0, -np.inf, np.inf)[place])
            if constant is None:
                return self._unknown(node, output, read, "other-op", f"{node.op} with a constant that is not per channel")
            args.append(constant)
        curve = curves.apply(node.op, tuple(args), node.attributes)
        if curve is None:
            return self._unknown(node, output, read, "other-op", "a long chain of elementwise nodes")
        return settled(Vector(first.base, labels, curve, any(v.expanded for v in read)))

    def _along(self, name: str, labels: Labels) -> curves.Array | None:
        """A constant operand: a scalar, or one value per channel."""
        value = self.view.constant(name)
        if value is None:
            return None
        if value.size == 1:
            return np.asarray(value.reshape(()), np.float64)
        shape = (1,) * (len(labels) - value.ndim) + value.shape
        if any(size != 1 and label != "C" for size, label in zip(shape, labels, strict=True)):
            return None
        return np.asarray(value.reshape(-1), np.float64)

    def _unknown(self, node: Node, output: str, read: Iterable[Vector], reason: str, detail: str = "") -> Vector | None:
        """A vector that no SE block has; None where the tensor is rather a map (several axes beside the batch)."""
        read = list(read)
        shape = self.view.shape(output)
        if any("S" in v.labels for v in read) or (shape is not None and sum(size != 1 for size in shape[1:]) > 2):
            return None
        is_gate = any(v.is_gate for v in read) or node.op in _MEANT
        pools = frozenset[str]().union(*(v.pools for v in read))
        return Vector(Unknown(reason, detail, node, pools, is_gate), ())


def _widened(labels: Labels, rank: int) -> Labels:
    return ("1",) * (rank - len(labels)) + labels


#: Operators with a reason of their own.
_ODD = {
    "Softmax": "softmax",
    "LogSoftmax": "softmax",
    "Split": "sliced",
    "Slice": "sliced",
    "Gather": "sliced",
    "Concat": "sliced",
    "LayerNormalization": "normalised",
    "InstanceNormalization": "normalised",
    "GroupNormalization": "normalised",
    "LpNormalization": "normalised",
    "ReduceMean": "normalised",
    "DynamicQuantizeLinear": "quantized",
}

#: Reasons that a later operator's own says better: the branches of selective kernels are reshaped, and then compete in a Softmax.
_VAGUE = frozenset({"reshaped"})

#: Operators behind which a vector can have been meant as a gate.
_MEANT = frozenset({"Softmax", "Conv", "Gemm", "MatMul", "Einsum", "LSTM", "GRU"})
