"""Finds the SE blocks of a graph, whatever their spelling, and says of every near miss why it is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from se_deploy import op
from se_deploy.artifacts import Block, Rejection
from se_deploy.graph.canonical import Candidate, Canonical
from se_deploy.graph.inline import without_foreign_functions
from se_deploy.graph.naming import Namer
from se_deploy.graph.reasons import sentence
from se_deploy.graph.rules import Miss, Parts, epilogue, fused, lookalike, one_fc, placement, quantized, residual, two_fc, unpooled
from se_deploy.graph.view import Node, View

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Match:
    """One SE block: what it is, what it reads and makes, and the nodes that it stands for."""

    name: str
    variant: op.Variant
    #: The node's float attributes: exactly `variant.attributes`.
    attributes: Mapping[str, float]
    #: The map that the node reads, (N, C, *spatial), or (N, *spatial, C) where `channels_last`.
    x: str
    channels_last: bool
    #: FP32, by the node's input names: w1 (R, C), b1 (R,), w2 (C, R), b2 (C,), slope (R,).
    weights: Weights = field(repr=False)
    #: The tensor added, for skip "add".
    residual: str | None
    output: str
    #: Sizes of the map's spatial axes: a number, a symbol, or None where nothing is known; None for a map of unknown rank.
    spatial: tuple[int | str | None, ...] | None
    #: ONNX element type of x and output, 0 where it is not known.
    elem_type: int
    #: The nodes from the pool to `output`, in the graph's order.
    nodes: tuple[Node, ...] = field(repr=False)
    fused: bool = False

    @property
    def channels(self) -> int:
        """C."""
        return len(self.weights["b2"])

    @property
    def reduced(self) -> int:
        """R; C for a block of one FC."""
        return int(self.weights["w2"].shape[1])

    @property
    def params(self) -> int:
        """Weights and biases of the node (an absent bias is zeros and does not count), and slopes."""
        return sum(int(w.size) for name, w in self.weights.items() if name[0] != "b" or w.any())


@dataclass(frozen=True)
class Found:
    """What a graph holds: blocks in the graph's order, and near misses."""

    matches: tuple[Match, ...]
    rejections: tuple[Rejection, ...]
    view: View = field(repr=False, compare=False)


def find(model: ModelProto) -> Found:
    """Every SE block of the model's main graph, fused ones included, and every near miss. The model is not changed.

    Raises:
        GraphError: the graph has a cycle, or a node reads a tensor that nothing makes.
    """
    view = View(without_foreign_functions(model))
    form = Canonical(view)
    by_mul = {c.mul: c for c in form.candidates}
    names = Namer(view.nodes)
    matches: list[Match] = []
    rejections: list[Rejection] = []
    for node in view.nodes:
        result = _judge(form, node, by_mul.get(node), names)
        if isinstance(result, Match):
            matches.append(result)
        elif result is not None:
            rejections.append(Rejection(node=node.name, id=result.id, reason=sentence(result.id, result.detail)))
    return Found(tuple(matches), tuple(rejections), view)


def match_report(match: Match, macs: int) -> Block:
    """A block as `inspect` reports it.

    Args:
        match: the block.
        macs: its multiply-adds at the size that is reported (`graph.cost` counts them).
    """
    return Block(
        name=match.name,
        pooled=match.x,
        channels=match.channels,
        reduced=match.reduced,
        activation=match.variant.act,
        gate=match.variant.gate,
        alpha=match.attributes.get("alpha"),
        beta=match.attributes.get("beta"),
        skip=match.variant.skip,
        epilogue=match.variant.epilogue,
        params=match.params,
        macs=macs,
    )


def _judge(form: Canonical, node: Node, candidate: Candidate | None, names: Namer) -> Match | Miss | None:
    """A node's block, why it is none, or None where nothing looks like one."""
    if candidate is None:
        there = fused.match(form.view, node)
        return unpooled.reason(form, node) if there is None else _fused(form.view, node, *there)
    parts = two_fc.match(candidate.vector) or one_fc.match(candidate.vector) or lookalike.reason(candidate.vector)
    if not isinstance(parts, Parts):
        return parts
    parts = replace(parts, pool=placement.pool_of(form, candidate, parts.pool))
    miss = placement.check(form, candidate, parts.pool) or _too_old(form.view, _variant(parts))
    return miss or _block(form, candidate, parts, names)


def _variant(parts: Parts) -> op.Variant:
    """The variant without what stands behind the block."""
    return op.Variant(parts.activation.act, parts.gate.kind, "self" if parts.gate.plus_one else "none")


def _too_old(view: View, variant: op.Variant) -> Miss | None:
    needed = op.min_opset(variant)
    return Miss("old-opset", f"opset {view.opset}, and {needed} is needed") if view.opset < needed else None


def _fused(view: View, node: Node, variant: op.Variant, weights: Weights) -> Match:
    shape = view.shape(node.inputs[0])
    return Match(
        name=node.name,
        variant=variant,
        attributes=op.attributes_of(node.proto),
        x=node.inputs[0],
        channels_last=False,
        weights=weights,
        residual=node.inputs[-1] if variant.skip == "add" else None,
        output=node.outputs[0],
        spatial=None if shape is None else shape[2:],
        elem_type=view.elem_type(node.inputs[0]),
        nodes=(node,),
        fused=True,
    )


def _block(form: Canonical, candidate: Candidate, parts: Parts, names: Namer) -> Match:
    view, mul = form.view, candidate.mul
    inside = [*placement.block_nodes(form, candidate, parts.pool), mul]
    block = Match(
        name=names.of_block(sorted(inside, key=view.position.__getitem__), mul),
        variant=_variant(parts),
        attributes={**parts.gate.attributes, **parts.activation.attributes},
        x=_source(view, candidate.map),
        channels_last=False,
        weights=_weights(parts),
        residual=None,
        output=mul.outputs[0],
        spatial=None,
        elem_type=view.elem_type(candidate.map),
        nodes=tuple(inside),
    )
    block = _placed(view, block, parts)
    block = _in_int8(form, block) or _with_epilogue(view, _with_residual(form, block))
    return replace(block, nodes=tuple(sorted(block.nodes, key=view.position.__getitem__)))


def _placed(view: View, block: Match, parts: Parts) -> Match:
    """With the place of the channels, and the map's size."""
    rank = view.rank(block.x) or 0
    last = placement.channel_axis(view, block.x, parts.pool) != 1
    shape = view.shape(block.x)
    spatial = None if shape is None else shape[1:-1] if last else shape[2:]
    return replace(block, channels_last=last and rank > 2, spatial=spatial)


def _source(view: View, name: str) -> str:
    """The tensor that Identity nodes hand on."""
    while (node := view.producer.get(name)) is not None and (node.op == "Identity" or _casts_nothing(view, node)):
        name = node.inputs[0]
    return name


def _casts_nothing(view: View, node: Node) -> bool:
    return node.op == "Cast" and view.elem_type(node.inputs[0]) == node.get("to", -1)


def _weights(parts: Parts) -> Weights:
    """The node's weights, FP32: what the gate's scale and shift ask for is folded into the last layer."""
    *first, (w2, b2) = parts.layers
    if (parts.gate.scale, parts.gate.shift) != (1.0, 0.0):
        w2, b2 = w2 * parts.gate.scale, b2 * parts.gate.scale + parts.gate.shift
    arrays: dict[str, Any] = {"w1": first[0][0], "b1": first[0][1]} if first else {}
    arrays |= {"w2": w2, "b2": b2}
    if parts.activation.slope is not None:
        arrays["slope"] = parts.activation.slope
    return {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}


def _with_residual(form: Canonical, block: Match) -> Match:
    if block.variant.skip != "none":
        return block
    added = residual.match(form, block.output, block.x)
    if added is None:
        return block
    return replace(
        block,
        variant=replace(block.variant, skip=added.skip),
        residual=None if added.tensor is None else _source(form.view, added.tensor),
        output=added.node.outputs[0],
        nodes=(*block.nodes, added.node),
    )


def _in_int8(form: Canonical, block: Match) -> Match | None:
    """The INT8 form, with what stands behind the block."""
    for whole in (_through_pairs(form, block), _with_epilogue(form.view, _with_residual(form, block))):
        found = quantized.match(form.view, whole.x, whole.residual, whole.output)
        variant = replace(whole.variant, int8=True)
        if found is not None and form.view.opset >= op.min_opset(variant):
            attributes = {**whole.attributes, **found.attributes}
            return replace(whole, variant=variant, x=found.x, residual=found.residual, output=found.output, attributes=attributes,
                           elem_type=TensorProto.INT8, nodes=(*whole.nodes, found.node))  # fmt: skip
    return None


def _through_pairs(form: Canonical, block: Match) -> Match:
    """With the residual and the epilogue that stand behind pairs, too: inside the node their roundings are left out."""
    for grow in (partial(_with_residual, form), partial(_with_epilogue, form.view)):
        grown = grow(block)
        behind = quantized.through(form.view, block.output) if grown is block else None
        if behind is not None:
            start = replace(block, output=behind[0], nodes=(*block.nodes, *behind[1]))
            grown = grow(start)
            grown = block if grown is start else grown
        block = grown
    return block


def _with_epilogue(view: View, block: Match) -> Match:
    behind = epilogue.match(view, block.output)
    if behind is None:
        return block
    variant = replace(block.variant, epilogue=behind.act)
    return replace(block, variant=variant, output=behind.output, nodes=(*block.nodes, *behind.nodes))
