"""An engine's graph and the plain one side by side, cut at the tensors that both have: the least pieces that can be compared.

    plain     x ── Conv ── a ── GlobalAveragePool … Mul ── Add ── Relu ── y ── Conv ── b
    engine    x ── Conv ── a ──────── SqueezeExcite ──────────────────── y ── Q ── DQ ── Conv ── b

gives the segments a, y and b. Rewriting keeps the names of the tensors that it does not take away, so nothing here has to know what
was rewritten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from onnx import ModelProto, TensorProto

from se_deploy.graph.find import find
from se_deploy.graph.names import module_of
from se_deploy.graph.view import Node, View

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


@dataclass(frozen=True)
class Piece:
    """Nodes of one graph in order, and the tensors that they read from outside."""

    nodes: tuple[Node, ...] = field(repr=False)
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """What makes `output` of other tensors that both graphs have. `block` is the SE block that it is, or is a part of."""

    output: str
    module: str
    block: str | None
    engine: Piece
    reference: Piece

    @property
    def name(self) -> str:
        """The SE block, else the module."""
        return self.block or self.module


def blocks_of(plain: ModelProto) -> dict[str, str]:
    """The SE block that each node of a plain graph, its weights loaded, is a part of; by the nodes' names."""
    return {node.name: match.name for match in find(plain).matches for node in match.nodes}


def segments(engine: View, plain: View, blocks: Mapping[str, str]) -> tuple[Segment, ...]:
    """Every segment, in the engine's order; `blocks` are `blocks_of` the plain graph."""
    shared = common(engine, plain)
    made = []
    for node in engine.nodes:
        for output in node.outputs:
            if output in shared:
                ours, theirs = piece(engine, output, shared), piece(plain, output, shared)
                made.append(Segment(output, _module(theirs, output), _block(theirs, blocks), ours, theirs))
    return tuple(made)


def common(engine: View, plain: View) -> frozenset[str]:
    """Floating-point tensors that nodes make in both graphs, and that depend on the network's inputs."""
    return frozenset(name for name in engine.producer if name in plain.producer and _varies(engine, name) and _varies(plain, name))


def _varies(view: View, name: str) -> bool:
    return not view.is_constant(name) and not view.is_shape(name) and view.elem_type(name) in _FLOATS


def piece(view: View, output: str, shared: Collection[str]) -> Piece:
    """The nodes that make `output` of shared tensors, the network's inputs and constants."""
    given = {value.name for value in view.inputs}
    nodes: set[Node] = set()
    inputs: set[str] = set()
    waiting = [view.producer[output]]
    while waiting:
        node = waiting.pop()
        if node in nodes:
            continue
        nodes.add(node)
        for name in (*node.inputs, *node.captured):
            if name in given or (name in shared and name not in node.outputs):
                inputs.add(name)
            elif name in view.producer:
                waiting.append(view.producer[name])
    return Piece(tuple(sorted(nodes, key=view.position.__getitem__)), tuple(sorted(inputs)))


def regrown(segment: Segment, engine: View, plain: View, shared: Collection[str]) -> Segment:
    """The segment again, where fewer tensors are taken to be shared: it begins further up."""
    return replace(segment, engine=piece(engine, segment.output, shared), reference=piece(plain, segment.output, shared))


def _module(theirs: Piece, output: str) -> str:
    """The module of the last node that has one, else the node's name."""
    known = [module for node in reversed(theirs.nodes) if (module := module_of(node.proto))]
    return known[0] if known else theirs.nodes[-1].name or output


def _block(theirs: Piece, blocks: Mapping[str, str]) -> str | None:
    return next((blocks[node.name] for node in theirs.nodes if node.name in blocks), None)
