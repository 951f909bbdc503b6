"""Parameters and multiply-adds, counted as the paper counts them (Hu et al., 2018, section 4 and table 2).

Multiply-adds: one per weight and output element of a convolution, one per weight and row of an FC (a Gemm, or a MatMul with a constant);
for an SE block also one per element pooled and one per element scaled. Biases, normalisation, activations, other pools and additions
are free. Parameters: the learned constants of the file, each once. Exporters fold a BatchNorm into the convolution before it: its two
numbers per channel have become the convolution's bias. A bias of zeros in an SE block is one that is absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from se_deploy.graph import shapes
from se_deploy.graph.find import Found, Match
from se_deploy.graph.shapes import Tensor
from se_deploy.graph.view import Node, View

#: Height and width of an image whose size the file leaves open and nobody names.
DEFAULT_SIDE = 224

#: By operator, the inputs that hold what was learned.
_LEARNED = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1), "PRelu": (1,), "LSTM": (1, 2, 3), "GRU": (1, 2, 3),
    "BatchNormalization": (1, 2), "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "Add": (0, 1), "Mul": (0, 1),
}  # fmt: skip

_COUNTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class BlockCost:
    """One SE block: its parameters, those of them that are FC weights (no biases, no slopes), and its multiply-adds."""

    params: int
    weights: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """A network at batch 1, SE blocks included."""

    params: int
    macs: int
    #: In the order of `Found.matches`.
    blocks: tuple[BlockCost, ...]
    #: What could not be counted, and sizes that the file does not say.
    notes: tuple[str, ...]


def cost(model: ModelProto, found: Found, sizes: Mapping[str, Sequence[int]] | None = None) -> Cost:
    """Counts a network, plain or fused, and its SE blocks.

    Args:
        model: the model that `found` was found in.
        found: its SE blocks. What looks like one and is none counts as the convolutions and FCs that it holds.
        sizes: by network input, the size of each axis; used for axes that the file leaves open, but for the batch, which is 1.

    Returns:
        Counts at the declared input size (a fixed batch is divided out). A node whose size is not known even then counts 0 and is noted.
    """
    notes: list[str] = []
    whole, batch = input_sizes(model, sizes or {}, notes)
    counter = Counter(found.view, shapes.infer(model, whole), batch)
    blocks = tuple(counter.block(match) for match in found.matches)
    inside = {node for match in found.matches for node in match.nodes}
    rest = [node for node in found.view.nodes if node not in inside]
    macs = sum(counter.macs(node) for node in rest)
    if counter.unknown:
        notes.append(f"not counted, of unknown size: {len(counter.unknown)} (such as {', '.join(counter.unknown[:3])})")
    return Cost(
        params=counter.params(rest) + sum(block.params for block in blocks),
        macs=macs + sum(block.macs for block in blocks),
        blocks=blocks,
        notes=tuple(notes),
    )


def input_sizes(model: ModelProto, sizes: Mapping[str, Sequence[int]], notes: list[str]) -> tuple[dict[str, list[int]], int]:
    """Whole shapes of the inputs whose axes can all be told, and the batch."""
    whole: dict[str, list[int]] = {}
    batches = []
    for value in shapes.network_inputs(model.graph):
        declared = shapes.tensor_of(value)
        if declared is None or declared.shape is None:
            continue
        given = sizes.get(value.name, ())
        dims = [_axis(axis, dim, given, len(declared.shape)) for axis, dim in enumerate(declared.shape)]
        if None in dims:
            continue
        whole[value.name] = [dim for dim in dims if dim is not None]
        batches += dims[:1]
        if not given and any(dim is None for dim in declared.shape[2:]):
            notes.append(f"input {value.name!r} has no fixed size: counted at {'x'.join(map(str, dims))}")
    return whole, batches[0] or 1 if batches else 1


def _axis(axis: int, declared: int | None, given: Sequence[int], rank: int) -> int | None:
    """The size of an input's axis; only an image's height and width have a default."""
    if declared is not None:
        return declared
    if axis == 0:
        return 1
    if axis < len(given):
        return given[axis]
    return DEFAULT_SIDE if rank == 4 and axis > 1 else None


class Counter:
    """Counts nodes; `unknown` collects the names of those whose size is not known."""

    def __init__(self, view: View, sizes: Mapping[str, Tensor], batch: int) -> None:
        self._view = view
        self._sizes = sizes
        self._batch = batch
        self.unknown: list[str] = []

    def block(self, match: Match) -> BlockCost:
        """An SE block: C * spatial pooled and as much scaled, and its FCs."""
        weights = sum(int(w.size) for name, w in match.weights.items() if name in ("w1", "w2"))
        elements = self._elements(match.x, match.name)
        return BlockCost(match.params, weights, weights + 2 * elements)

    def macs(self, node: Node) -> int:
        """A convolution's or FC's multiply-adds per image; 0 for other nodes."""
        if node.op not in _COUNTED:
            return 0
        operand = next((i for i in (1, 0) if self._view.is_constant(node.input(i))), None)
        if operand is None:
            return 0
        weight = self._sizes.get(node.inputs[operand], Tensor(0, None))
        known = [size for size in weight.shape or () if size is not None]
        if not known or weight.size is None:
            self.unknown.append(node.name)
            return 0
        match node.op:
            case "ConvTranspose":
                return self._elements(node.inputs[0], node.name) * math.prod(known[1:])
            case "Conv":
                return self._elements(node.outputs[0], node.name) * math.prod(known[1:])
        return self._elements(node.outputs[0], node.name) * self._summed(node, operand, known)

    @staticmethod
    def _summed(node: Node, operand: int, weight: Sequence[int]) -> int:
        """How many products an FC sums for one output element."""
        if node.op == "Gemm":
            return weight[1] if bool(node.get("transB", 0)) == (operand == 1) else weight[0]
        return weight[-1] if operand == 0 or len(weight) == 1 else weight[-2]

    def _elements(self, tensor: str, name: str) -> int:
        size = self._sizes[tensor].size if tensor in self._sizes else None
        if size is None:
            self.unknown.append(name)
            return 0
        return size // self._batch

    def params(self, nodes: Sequence[Node]) -> int:
        """Elements of what nodes learned, each constant once."""
        learned = dict(leaf for node in nodes for leaf in self._learned(node))
        return sum(learned.values())

    def _learned(self, node: Node) -> Iterator[tuple[str, int]]:
        """A node's constants, by the name under which they are stored, and their sizes."""
        for index in _LEARNED.get(node.op, ()):
            name = node.input(index)
            if not name or not self._view.is_constant(name):
                continue
            while (maker := self._view.producer.get(name)) is not None and maker.inputs:
                name = maker.inputs[0]  # moved about, or dequantized
            size = self._sizes[name].size if name in self._sizes else None
            if size is not None and (size > 1 or node.op not in ("Add", "Mul")):  # a scalar is part of a formula
                yield name, size
