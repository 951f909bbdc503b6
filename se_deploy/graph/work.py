"""How much each node of a network reads, writes and multiplies, one image at a time: what a cost model starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from se_deploy.artifacts import BlockWork, NodeWork
from se_deploy.graph import shapes
from se_deploy.graph.cost import Counter, input_sizes
from se_deploy.graph.curves import ELEMENTWISE
from se_deploy.graph.find import Found, Match
from se_deploy.graph.shapes import Tensor
from se_deploy.graph.view import Node

#: Operators that every runtime takes along with the layer before them where that is their only reader.
_POINTWISE = ELEMENTWISE | {"Add", "Mul", "Sub", "Div", "BatchNormalization", "Identity", "Cast", "Dropout", "HardSwish", "Mish", "Gelu"}
_FREE = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Shape", "Constant", "Identity", "Dropout"})


@dataclass(frozen=True)
class Work:
    """A network. `unknown` names what has no size."""

    nodes: tuple[NodeWork, ...]
    blocks: tuple[BlockWork, ...]
    unknown: tuple[str, ...]


def work(model: ModelProto, found: Found, sizes: Mapping[str, Sequence[int]] | None = None) -> Work:
    """Measures a network, plain or fused, at the sizes given for its inputs (or those it declares)."""
    whole, batch = input_sizes(model, sizes or {}, [])
    tensors = shapes.infer(model, whole)
    counter = Counter(found.view, tensors, batch)
    inside = {node for match in found.matches for node in match.nodes}
    nodes = [_node(found, tensors, counter, batch, node) for node in found.view.nodes if node not in inside]
    blocks = tuple(_block(found, tensors, batch, match, inside) for match in found.matches)
    return Work(tuple(node for node in nodes if node is not None), blocks, tuple(counter.unknown))


def _elements(tensors: Mapping[str, Tensor], name: str) -> int:
    return tensors[name].size or 0 if name in tensors else 0


def _node(found: Found, tensors: Mapping[str, Tensor], counter: Counter, batch: int, node: Node) -> NodeWork | None:
    view = found.view
    if node.op in _FREE or all(view.is_constant(name) or view.is_shape(name) for name in node.outputs):
        return None
    layer = node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    read = sum(_elements(tensors, name) for name in node.inputs if name and not view.is_constant(name)) // batch
    weights = sum(_elements(tensors, name) for name in node.inputs if name and view.is_constant(name))
    written = sum(_elements(tensors, name) for name in node.outputs if name) // batch
    kind: Literal["layer", "pointwise", "other"] = "layer" if layer else "pointwise" if node.op in _POINTWISE else "other"
    return NodeWork(node.name, kind, read, weights if layer else 0, written, counter.macs(node))


def _block(found: Found, tensors: Mapping[str, Tensor], batch: int, match: Match, inside: set[Node]) -> BlockWork:
    followers = list(_followers(found, match, inside))
    return BlockWork(
        name=match.name,
        channels=match.channels,
        reduced=None if match.variant.act == "none" else match.reduced,
        positions=_elements(tensors, match.x) // batch // match.channels,
        residual=match.variant.skip == "add",
        skip=match.variant.skip != "none",
        epilogue=match.variant.epilogue != "none",
        followed=any(followers),
        read_elsewhere=not all(followers) or match.output in found.view.outputs,
    )


def _followers(found: Found, match: Match, inside: set[Node]) -> Iterator[bool]:
    """For each reader of the output: whether it is an elementwise operator, no block's, with operands that are there by then."""
    view = found.view
    made = view.position[view.producer[match.output]]
    for node in view.consumers.get(match.output, []):
        others = (view.producer.get(name) for name in node.inputs if name != match.output)
        ready = all(maker is None or view.position[maker] < made for maker in others)
        yield node not in inside and node.op in _POINTWISE - _FREE and ready
