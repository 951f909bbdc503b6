"""A factor per channel goes into the layer before, through what lets it pass, or into the layers behind.

conv ── Relu ── (* f)            conv' ── Relu             f >= 0: Relu(f v) = f Relu(v)
conv ── SiLU ── (* f) ── conv    conv ── SiLU ── conv'     SiLU does not let it pass
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from se_deploy.graph.net import Float, Net, attributes, is_op

#: f * v goes through: positively homogeneous operators, for factors of at least 0.
_POSITIVE = ("Relu", "LeakyRelu", "PRelu", "MaxPool")
#: Any factor goes through.
_LINEAR = ("Identity", "Dropout", "AveragePool", "GlobalAveragePool")


@dataclass(frozen=True)
class Before:
    """The convolution or BatchNorm that makes a tensor, but for operators that let a factor pass."""

    node: NodeProto


def before(net: Net, name: str, factor: Float) -> Before | None:
    """Where a factor on a tensor, read once, could go upstream; None where there is no such place."""
    while not net.is_shared(name):
        node = net.producer(name)
        if node is None:
            return None
        if is_op(node, *_LINEAR) or (is_op(node, *_POSITIVE) and (factor >= 0).all()):
            name = node.input[0]
            continue
        return Before(node) if _scalable(net, node, len(factor)) else None
    return None


def _scalable(net: Net, node: NodeProto, channels: int) -> bool:
    if is_op(node, "BatchNormalization"):
        return all(net.value(node.input[i]) is not None for i in (1, 2)) and not attributes(node).get("training_mode", 0)
    if not is_op(node, "Conv"):
        return False
    weight = net.value(node.input[1])
    biased = len(node.input) > 2 and bool(node.input[2])
    return weight is not None and len(weight) == channels and (not biased or net.value(node.input[2]) is not None)


def scale_before(net: Net, place: Before, factor: Float) -> None:
    """Multiplies what a convolution or BatchNorm gives, per channel."""
    node = place.node
    indices = (1, 2) if is_op(node, "BatchNormalization") else (1, *((2,) if len(node.input) > 2 and node.input[2] else ()))
    for index in indices:
        value = net.value(node.input[index])
        assert value is not None
        net.change(node, index, value * factor.reshape(-1, *[1] * (value.ndim - 1)))


def behind(net: Net, name: str) -> list[NodeProto] | None:
    """The convolutions that read a tensor, where nothing else does."""
    readers = net.readers(name)
    fine = readers and not net.is_output(name) and all(is_op(n, "Conv") and n.input[0] == name and n.input[1] != name for n in readers)
    return readers if fine and all(net.value(n.input[1]) is not None for n in readers) else None


def scale_behind(net: Net, convolutions: list[NodeProto], factor: Float) -> None:
    """Multiplies what convolutions read, per channel."""
    for node in convolutions:
        weight = net.value(node.input[1])
        assert weight is not None
        groups = int(str(attributes(node).get("group", 1)))
        rows = len(weight) // groups
        own = np.repeat(factor.reshape(groups, -1), rows, axis=0)  # (O, C / group)
        net.change(node, 1, weight * own.reshape(*own.shape, *[1] * (weight.ndim - 2)))
