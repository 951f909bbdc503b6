"""A read-only view of a graph: who makes and who reads a tensor, what is constant, what is alive, what shapes are known."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph import folding
from se_deploy.graph.curves import ELEMENTWISE
from se_deploy.graph.symbols import Sizes, infer

Array = NDArray[Any]

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


@dataclass(eq=False, frozen=True)
class Node:
    """A node of the graph. `op` is the operator's name, with its domain in front where that is not ONNX's own."""

    proto: NodeProto = field(repr=False)
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: What its subgraphs read from outside.
    captured: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, or what it makes where it has none."""
        return self.proto.name or next(filter(None, self.outputs), self.op)

    def input(self, index: int) -> str:
        """The name of an input, "" where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def get(self, name: str, default: Any) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)


@dataclass(frozen=True)
class Dim:
    """One size of a tensor, as a Shape node reads it."""

    tensor: str
    axis: int


class View:
    """The index of a model's main graph. Nodes that no output needs are left out; the model is not changed.

    Raises:
        GraphError: the graph has a cycle, or a node reads a tensor that nothing makes.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.opset = op.opset_of(model)
        self.initializers = {i.name: i for i in model.graph.initializer}
        self.outputs = frozenset(o.name for o in model.graph.output)
        self.inputs = tuple(i for i in model.graph.input if i.name not in self.initializers)
        self.nodes = _alive(_sorted([_read(n) for n in model.graph.node], _given(model.graph)), self.outputs)
        self.position = {node: index for index, node in enumerate(self.nodes)}
        self.producer = {name: node for node in self.nodes for name in node.outputs if name}
        self.consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.inputs, *node.captured)):
                self.consumers.setdefault(name, []).append(node)
        self._constants: set[str] = set(self.initializers) | {s.values.name for s in model.graph.sparse_initializer}
        self._metas: set[str] = set()
        self._folded: dict[str, Array | None] = {}
        self._classify()
        self._sizes: Sizes | None = None

    def _classify(self) -> None:
        """What can be folded, and what is computed from shapes alone."""
        for node in self.nodes:
            read = [name for name in node.inputs if name]
            if node.op in folding.FOLDABLE and all(name in self._constants for name in read):
                self._constants.update(node.outputs)
            elif node.op in ("Shape", "Size") or (read and all(self.is_constant(n) or n in self._metas for n in read)):
                self._metas.update(node.outputs)

    def is_constant(self, name: str) -> bool:
        """Whether a tensor does not depend on the network's inputs."""
        return name in self._constants

    def is_shape(self, name: str) -> bool:
        """Whether a tensor is computed from other tensors' shapes (and constants) alone."""
        return name in self._metas

    def constant(self, name: str) -> Array | None:
        """A constant tensor's value; None for what is not constant, or cannot be folded."""
        if name not in self._constants:
            return None
        if name not in self._folded:
            self._folded[name] = self._fold(name)
        return self._folded[name]

    def _fold(self, name: str) -> Array | None:
        if name in self.initializers:
            return folding.array(self.initializers[name])
        node = self.producer.get(name)
        if node is None:
            return None
        values = [self.constant(i) if i else None for i in node.inputs]
        if any(v is None and i for v, i in zip(values, node.inputs, strict=True)):
            return None
        return folding.fold(node.op, values, node.attributes)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A constant tensor of integers, flat."""
        value = self.constant(name) if name else None
        return None if value is None else tuple(int(v) for v in value.reshape(-1))

    def axes(self, node: Node) -> tuple[int, ...] | None:
        """The axes of a Reduce, Squeeze or Unsqueeze, attribute or input; None where they are left out or unknown."""
        if "axes" in node.attributes:
            return tuple(node.attributes["axes"])
        return self.integers(node.input(1))

    def shape_value(self, name: str) -> tuple[int | Dim, ...] | None:
        """What a tensor of sizes holds, entry by entry."""
        known = self.integers(name)
        if known is not None:
            return known
        node = self.producer.get(name)
        if node is None or name not in self._metas:
            return None
        match node.op:
            case "Shape":
                return self._shape_node(node)
            case "Identity" | "Cast" | "Unsqueeze" | "Squeeze" | "Reshape":
                return self.shape_value(node.inputs[0])
            case "Concat":
                parts = [self.shape_value(i) for i in node.inputs]
                return None if any(p is None for p in parts) else tuple(e for p in parts if p is not None for e in p)
            case "Gather":
                return self._picked(self.shape_value(node.inputs[0]), self.integers(node.input(1)))
            case "Slice":
                return self._sliced(node)
        return None

    def _shape_node(self, node: Node) -> tuple[int | Dim, ...] | None:
        rank = self.rank(node.inputs[0])
        if rank is None:
            return None
        axes = range(rank)[slice(node.get("start", None), node.get("end", None))]
        shape = self.shape(node.inputs[0]) or (None,) * rank
        return tuple(size if isinstance(size := shape[a], int) else Dim(node.inputs[0], a) for a in axes)

    @staticmethod
    def _picked(entries: tuple[int | Dim, ...] | None, where: tuple[int, ...] | None) -> tuple[int | Dim, ...] | None:
        if entries is None or where is None or any(not -len(entries) <= i < len(entries) for i in where):
            return None
        return tuple(entries[i] for i in where)

    def _sliced(self, node: Node) -> tuple[int | Dim, ...] | None:
        entries = self.shape_value(node.inputs[0])
        bounds = [self.integers(node.input(i)) for i in (1, 2)]
        step = self.integers(node.input(4)) or (1,)
        if entries is None or any(b is None or len(b) != 1 for b in bounds):
            return None
        start, end = (b[0] for b in bounds if b is not None)
        return entries[start : end : step[0]]

    @property
    def sizes(self) -> Sizes:
        """Types and shapes, inferred once, when first asked for."""
        if self._sizes is None:
            self._sizes = infer(self.model)
        return self._sizes

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """A tensor's shape: sizes, symbols where two sizes are known to be equal, None where nothing is known."""
        return self.sizes.shapes.get(name)

    def elem_type(self, name: str) -> int:
        """A tensor's ONNX element type, 0 where it is not known."""
        return self.sizes.types.get(name, 0)

    def rank(self, name: str) -> int | None:
        """A tensor's number of axes. Where inference failed, a convolution upstream of operators that keep the rank tells."""
        for _ in range(64):
            shape = self.shape(name)
            if shape is not None:
                return len(shape)
            node = self.producer.get(name)
            if node is None:
                return None
            if node.op in ("Conv", "ConvTranspose"):
                weight = self.shape(node.inputs[1])
                return None if weight is None else len(weight)
            if node.op not in _KEEP_RANK:
                return None
            name = node.inputs[0]
        return None

    def single_consumer(self, name: str) -> Node | None:
        """The one node that reads a tensor, once, if the graph's outputs do not hold it too."""
        readers = self.consumers.get(name, [])
        if name in self.outputs or len(readers) != 1 or readers[0].inputs.count(name) != 1:
            return None
        return readers[0]

    def is_same(self, node: Node) -> bool:
        """Whether a node hands its first input on unchanged (a float cast changes the type alone)."""
        if node.op == "Cast":
            source = self.elem_type(node.inputs[0])
            return node.get("to", 0) in _FLOATS and (source == 0 or source in _FLOATS)
        if node.op == "Dropout":
            training = self.constant(node.input(2)) if node.input(2) else np.array(False)
            return training is not None and not training.any()
        return node.op in ("Identity", "CastLike")


#: Operators whose output has as many axes as their first input.
_KEEP_RANK = ELEMENTWISE | {
    "Identity", "Cast", "Dropout", "Concat", "BatchNormalization", "InstanceNormalization", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Pad", "Transpose", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip


def _read(proto: NodeProto) -> Node:
    name = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}::{proto.op_type}"
    graphs = [g for a in proto.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute} if not graphs else {}
    captured = tuple(dict.fromkeys(c for g in graphs for c in _captures(g)))
    return Node(proto, name, tuple(proto.input), tuple(proto.output), captured, attributes)


def _captures(graph: GraphProto) -> Iterator[str]:
    """Names that a subgraph reads from the graphs around it (and, harmlessly, some of its own)."""
    own = {i.name for i in (*graph.input, *graph.initializer)} | {o for n in graph.node for o in n.output}
    for node in graph.node:
        yield from (i for i in node.input if i and i not in own)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from (c for c in _captures(inner) if c not in own)
    yield from (o.name for o in graph.output if o.name not in own)


def _given(graph: GraphProto) -> set[str]:
    """The tensors that no node makes."""
    return {"", *(i.name for i in graph.input), *(i.name for i in graph.initializer), *(s.values.name for s in graph.sparse_initializer)}


def ordered(model: ModelProto) -> list[NodeProto] | None:
    """A model's nodes, each after what it reads; None where they are in order already.

    Raises:
        GraphError: the graph has a cycle, or a node reads a tensor that nothing makes.
    """
    nodes = [_read(n) for n in model.graph.node]
    order = _sorted(nodes, _given(model.graph))
    if order == nodes:
        return None
    copies = [NodeProto() for _ in order]
    for copy, node in zip(copies, order, strict=True):
        copy.CopyFrom(node.proto)
    return copies


def _sorted(nodes: list[Node], given: set[str]) -> list[Node]:
    """The nodes in an order in which each comes after what it reads; as they are where they are so already."""
    made = {name: node for node in nodes for name in node.outputs if name}
    missing: dict[Node, int] = {}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        reads = {name for name in (*node.inputs, *node.captured) if name not in given}
        unmade = next((name for name in reads if name not in made), None)
        if unmade is not None:
            raise GraphError(f"node {node.name!r} reads {unmade!r}, which nothing makes", "export the model again")
        missing[node] = len(reads)
        for name in reads:
            readers.setdefault(name, []).append(node)
    place = {node: index for index, node in enumerate(nodes)}
    ready = [place[node] for node in nodes if missing[node] == 0]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for reader in (r for name in dict.fromkeys(node.outputs) for r in readers.get(name, ())):
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, place[reader])
    if len(order) < len(nodes):
        stuck = next(node for node in nodes if missing[node] > 0)
        raise GraphError(f"the graph has a cycle through node {stuck.name!r}", "export the model again")
    return order


def _alive(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that the outputs need."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if any(name in needed for name in node.outputs):
            needed.update((*node.inputs, *node.captured))
            kept.append(node)
    return kept[::-1]
