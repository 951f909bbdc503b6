"""Channels of a tensor made alike before it is quantized: one scale for all of them then fits each.

    x ── Q ── conv(w)            x ── (/ s) ── Q ── conv(s w)         w is multiplied along its input channels

(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019; Meller et al., "Same, Same But
Different", ICML 2019.) A depthwise convolution has a weight scale for each channel, which takes all of s: nothing is lost. Where s goes:

    conv ── Relu ── x            into the convolution before, since Relu(v / s) = Relu(v) / s for s > 0
    … ── SE(w1, w2) ── x         in front of the block: SE's x is divided, the columns of w1 are multiplied, so the gate stays what it was
    … ── HardSwish ── x          nowhere: a Mul by the constant 1 / s stays
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import ModelProto, NodeProto, helper

from se_deploy import op
from se_deploy.artifacts import EQUALISED
from se_deploy.errors import GraphError
from se_deploy.graph import absorb
from se_deploy.graph.net import Float, Net, attributes, is_op

Kind = Literal["depthwise", "dense"]


@dataclass(frozen=True)
class Candidate:
    """A tensor whose channels can be made alike; `through` is the x of the SE block that gives it, `free` says that no Mul stays."""

    tensor: str
    kind: Kind
    free: bool
    through: str | None


@dataclass(frozen=True)
class _Place:
    """What has to change for a tensor: the convolutions that read it, the block that gives it, and the one before, where there is one."""

    candidate: Candidate
    readers: list[NodeProto]
    block: NodeProto | None
    before: absorb.Before | None


def candidates(model: ModelProto) -> list[Candidate]:
    """Every tensor that `equalised` can rescale, in the graph's order; the model is one that `batchnorm.folded` gave."""
    net = Net(model)
    places = (_place(net, name) for node in net.nodes for name in node.output)
    return [place.candidate for place in places if place is not None]


def equalised(model: ModelProto, factors: Mapping[str, Float]) -> ModelProto:
    """The model with these tensors divided by their factors, under new names (`EQUALISED`); it answers the same up to rounding.

    Args:
        model: a fused FP32 model; it is not changed.
        factors: by tensor (`candidates`), a positive number for each channel.

    Raises:
        GraphError: a tensor is no candidate, or its factors are not positive numbers, one for each channel.
    """
    net = Net(model)
    for name, factor in factors.items():
        place = _place(net, name)
        if place is None or len(factor) != _channels(net, place) or not (np.isfinite(factor).all() and (factor > 0).all()):
            raise GraphError(f"the channels of {name} cannot be equalised", "calibrate again")
        _equalise(net, place, np.asarray(factor, np.float32))
    return net.finished()


def _place(net: Net, name: str) -> _Place | None:
    readers = absorb.behind(net, name)
    if readers is None or net.producer(name) is None:
        return None
    groups = {int(str(attributes(node).get("group", 1))) for node in readers}
    if groups == {1}:
        kind: Kind = "dense"
    elif 1 not in groups and all(_inputs(net, node) == 1 for node in readers):
        kind = "depthwise"
    else:
        return None
    block = _block(net, name)
    start = block.input[0] if block is not None else name
    before = _before(net, start)
    if before is None and _is_block(net.producer(start)):
        return None  # its y would go through integers twice
    return _Place(Candidate(name, kind, before is not None, start if block is not None else None), readers, block, before)


def _inputs(net: Net, conv: NodeProto) -> int:
    """How many input channels an output of a convolution sees."""
    weight = net.value(conv.input[1])
    return 0 if weight is None else weight.shape[1]


def _channels(net: Net, place: _Place) -> int:
    return _inputs(net, place.readers[0]) * int(str(attributes(place.readers[0]).get("group", 1)))


def _block(net: Net, name: str) -> NodeProto | None:
    """The SE block that gives a tensor and lets a factor through: y = x g, or x + x g, with nothing or a Relu behind."""
    node = net.producer(name)
    variant = op.variant_of(node) if node is not None else None
    if node is None or variant is None or variant.int8 or variant.skip == "add" or variant.epilogue not in ("none", "relu"):
        return None
    passes = not net.is_shared(node.input[0]) and net.producer(node.input[0]) is not None
    return node if passes and net.value(node.input[1]) is not None else None


def _is_block(node: NodeProto | None) -> bool:
    return node is not None and op.variant_of(node) is not None


def _before(net: Net, name: str) -> absorb.Before | None:
    """The convolution that takes a division of a tensor: right before it, or with a Relu between.

    Nothing farther: what is quantized on the way would be divided as well.
    """
    node = net.producer(name)
    if node is not None and _is_relu(net, node) and not net.is_shared(node.input[0]):
        node = net.producer(node.input[0])
    if node is None or not is_op(node, "Conv"):
        return None
    weight, biased = net.value(node.input[1]), len(node.input) > 2 and bool(node.input[2])
    return absorb.Before(node) if weight is not None and (not biased or net.value(node.input[2]) is not None) else None


def _is_relu(net: Net, node: NodeProto) -> bool:
    """A Relu, or a Clip that is one."""
    if not is_op(node, "Clip"):
        return is_op(node, "Relu")
    low = net.value(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    return low is not None and not low.any() and not (len(node.input) > 2 and node.input[2])


def _equalise(net: Net, place: _Place, factor: Float) -> None:
    name, block = place.candidate.tensor, place.block
    absorb.scale_behind(net, place.readers, factor)
    start = name
    if block is not None:
        start = block.input[0]
        columns = net.value(block.input[1])  # of w1, or of w2 where there is one FC
        assert columns is not None
        net.change(block, 1, columns * factor)
        _renamed(net, name)
    if place.before is not None:
        absorb.scale_before(net, place.before, np.float32(1) / factor)
        _renamed(net, start)
        return
    rank = net.value(place.readers[0].input[1]).ndim  # type: ignore[union-attr]  # `absorb.behind` took convolutions with constant weights
    made = net.fresh(f"{start}{EQUALISED}")
    divisor = net.constant(f"{start}.equaliser", (1 / factor).reshape(1, -1, *[1] * (rank - 2)))
    net.rename(start, made)
    maker = net.producer(start)
    assert maker is not None
    net.nodes.insert(net.nodes.index(maker) + 1, helper.make_node("Mul", [start, divisor], [made], made))


def _renamed(net: Net, name: str) -> None:
    """What holds other values is called otherwise."""
    node, new = net.producer(name), net.fresh(f"{name}{EQUALISED}")
    assert node is not None
    node.output[list(node.output).index(name)] = new
    net.rename(name, new)
