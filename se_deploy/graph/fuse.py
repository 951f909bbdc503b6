"""Each SE block becomes one SqueezeExcite node."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph.find import Found, Match, find
from se_deploy.graph.protos import copied


@dataclass(frozen=True)
class FuseResult:
    """The new model, the names of the blocks that were fused now, and what was found."""

    model: ModelProto
    fused: tuple[str, ...]
    found: Found


def fuse(model: ModelProto, only: Collection[str] | None = None) -> FuseResult:
    """The model with one node for each SE block. The model that came in is not changed; fusing twice changes nothing.

    Args:
        model: any model; its weights are copied once.
        only: names of the blocks to fuse, None for all.

    Raises:
        GraphError: `only` names a block that is not there, or the graph cannot be followed.
    """
    found = find(model)
    unfused = {m.name: m for m in found.matches if not m.fused}
    missing = sorted(set(only or ()) - {m.name for m in found.matches})
    if missing:
        raise GraphError(f"no SE block is named {', '.join(missing)}", "run `se-deploy inspect` for the names")
    chosen = [m for name, m in unfused.items() if only is None or name in only]
    return FuseResult(_rewritten(found, chosen), tuple(m.name for m in chosen), found)


def _rewritten(found: Found, chosen: list[Match]) -> ModelProto:
    replaced = {m.output: m for m in chosen}
    gone = {n for m in chosen for n in m.nodes}
    writers = {found.view.producer[name]: m for name, m in replaced.items()}
    kept = [node for node in found.view.nodes if node not in gone]
    taken = {name for node in kept for name in (*node.inputs, *node.outputs, *node.captured)}
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    for node in found.view.nodes:
        if node in writers:
            new_nodes, new_weights = _emitted(found, writers[node], taken)
            nodes.extend(new_nodes)
            weights.extend(new_weights)
        elif node not in gone:
            nodes.append(node.proto)
    return _assembled(found.view.model, nodes, weights)


def _emitted(found: Found, match: Match, taken: set[str]) -> tuple[list[NodeProto], list[TensorProto]]:
    """The block's node and its weights; transposes around it where the map is channels-last, a cast where the function cannot."""

    def fresh(word: str) -> str:
        name = next(n for n in (f"{match.name}.{word}{'_' * i}" for i in count()) if n not in taken)
        taken.add(name)
        return name

    tensors = {key: numpy_helper.from_array(value, fresh(key)) for key, value in match.weights.items()}
    read = {"x": match.x, "residual": match.residual or ""} | {key: t.name for key, t in tensors.items()}
    output = match.output
    before: list[NodeProto] = []
    after: list[NodeProto] = []
    rank = len(match.spatial or ()) + 2
    if match.channels_last:
        for key in ("x", *(("residual",) if match.residual else ())):
            inner = fresh(key)
            before.append(_node("Transpose", inner, read[key], inner, ("perm", [0, rank - 1, *range(1, rank - 1)])))
            read[key] = inner
        inner = fresh("y")
        after.append(_node("Transpose", inner, inner, output, ("perm", [0, *range(2, rank), 1])))
        output = inner
    if found.view.opset < 15 and not match.variant.int8 and match.elem_type not in (0, TensorProto.FLOAT):
        # Without CastLike the function gives FP32.
        inner = fresh("y")
        after.insert(0, _node("Cast", inner, inner, output, ("to", match.elem_type)))
        output = inner
    node = op.make_node(match.variant, [read[key] for key in match.variant.inputs], output, match.name, match.attributes)
    return [*before, node, *after], list(tensors.values())


def _node(kind: str, name: str, source: str, output: str, attribute: tuple[str, int | list[int]]) -> NodeProto:
    node = helper.make_node(kind, [source], [output], name)
    node.attribute.append(helper.make_attribute(*attribute))
    return node


def _assembled(model: ModelProto, nodes: list[NodeProto], weights: list[TensorProto]) -> ModelProto:
    """A model of these nodes and what they read; everything else is copied from `model`."""
    nodes = _needed(nodes, {o.name for o in model.graph.output})
    read = {name for node in nodes for name in _reads(node)} | {o.name for o in model.graph.output}
    made = {name for node in nodes for name in node.output}
    new = copied(model, without=("node", "initializer", "value_info", "input"))
    known = {i.name for i in model.graph.initializer}
    new.graph.node.extend(nodes)
    wanted = read - {w.name for w in weights}  # a graph that was unfused has weights of these names
    new.graph.initializer.extend(i for i in model.graph.initializer if i.name in wanted)
    new.graph.initializer.extend(weights)
    new.graph.input.extend(i for i in model.graph.input if i.name in read or i.name not in known)
    new.graph.value_info.extend(v for v in model.graph.value_info if v.name in made)
    op.declare(new)
    return new


def _reads(node: NodeProto) -> Iterator[str]:
    """What a node and its subgraphs read."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from (o.name for o in graph.output)
            for inner in graph.node:
                yield from _reads(inner)


def _needed(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            needed.update(_reads(node))
            kept.append(node)
    return kept[::-1]
