"""A block some of whose channels have a constant gate: those are folded, and the rest stay a smaller block.

A constant gate g of channel i goes as a factor into the convolution before. The node still multiplies whole maps, so that gate becomes
one that is open whatever comes: its row of W2 is zero, its bias far out on the curve. What the FCs read of channel i is divided by the
factor again, and hidden units that no row reads any more go. A dead channel (g = 0) goes on both sides where the block's output is
read by convolutions alone: from the layers before, from the block, and from those convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph import absorb
from se_deploy.graph.net import Float, Net, attributes, is_op

#: A factor below this is 0: dividing by it would not give back what it was multiplied on.
NOTHING = 1e-3
#: Where sigmoid and tanh are exactly 1 in FP32.
_OPEN = 40.0

_ANY_CHANNEL = frozenset({"Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Clip", "Elu", "Tanh", "Softplus", "Identity",
                          "Dropout", "MaxPool", "AveragePool"})  # fmt: skip


@dataclass(frozen=True)
class Channels:
    """A block's channels: `gate` (C,) what each gate is on average, `still` (C,) which are constant, `pooled` (C,) the mean of x."""

    gate: Float
    still: NDArray[np.bool_]
    pooled: Float


@dataclass(frozen=True)
class Narrowed:
    """The new model, how many channels were folded, how many of them removed, and how many hidden units with them."""

    model: ModelProto
    folded: int
    removed: int
    units: int


def narrow(model: ModelProto, name: str, channels: Channels) -> Narrowed | None:
    """Folds single channels of a block; None where the layer before cannot take them. The model that came in is not changed.

    Raises:
        GraphError: there is no such block.
    """
    net = Net(model)
    node = next((n for n in net.nodes if n.name == name and op.variant_of(n) is not None), None)
    if node is None:
        raise GraphError(f"no SE block is named {name}", "run `se-deploy inspect` for the names")
    variant = op.VARIANTS[node.op_type]
    dead = channels.still & (np.abs(channels.gate) < NOTHING * 10)
    removed = _remove(net, node, variant, channels, dead)
    if removed:
        channels = Channels(channels.gate[~dead], channels.still[~dead], channels.pooled[~dead])
    opened = _open(net, node, variant, channels) if channels.still.any() else False
    if not opened and not removed:
        return None
    units = _prune(net, node, variant)
    folded = removed + (int(channels.still.sum()) if opened else 0)
    return Narrowed(net.finished(), folded, removed, units)


def _places(variant: op.Variant) -> dict[str, int]:
    return {key: index for index, key in enumerate(variant.inputs)}


def _weights(net: Net, node: NodeProto, variant: op.Variant) -> dict[str, Float]:
    found = {key: net.value(node.input[index]) for key, index in _places(variant).items() if key not in ("x", "residual")}
    return {key: value.copy() for key, value in found.items() if value is not None}


def _set(net: Net, node: NodeProto, variant: op.Variant, weights: dict[str, Float]) -> None:
    for key, value in weights.items():
        net.change(node, _places(variant)[key], value)


def _open(net: Net, node: NodeProto, variant: op.Variant, channels: Channels) -> bool:
    """Factors into the layer before, the constant gates open."""
    values = op.attributes_of(node)
    top = values["alpha"] + values["beta"] if variant.gate == "tanh" else 1.0
    own = 1.0 if variant.skip == "self" else 0.0
    if top + own < NOTHING:
        return False
    factor = np.where(channels.still, (channels.gate + own) / (top + own), 1).astype(np.float32)
    factor[np.abs(factor) < NOTHING] = 0
    place = absorb.before(net, node.input[0], factor) if node.input[0] not in node.input[1:] else None
    if place is None:
        return False
    absorb.scale_before(net, place, factor)
    weights = _weights(net, node, variant)
    _forget(weights, variant, channels.pooled, factor == 0)
    first = weights["w2" if variant.act == "none" else "w1"]
    first[:, factor != 0] /= factor[factor != 0]
    weights["w2"][channels.still] = 0
    weights["b2"][channels.still] = (1 - values["beta"]) / values["alpha"] + 1 if variant.gate == "hardsigmoid" else _OPEN
    _set(net, node, variant, weights)
    return True


def _forget(weights: dict[str, Float], variant: op.Variant, pooled: Float, gone: NDArray[np.bool_]) -> None:
    """The first FC no longer looks at these channels: their mean goes into its bias."""
    matrix, bias = ("w2", "b2") if variant.act == "none" else ("w1", "b1")
    weights[bias] += weights[matrix][:, gone] @ pooled[gone]
    weights[matrix][:, gone] = 0


def _prune(net: Net, node: NodeProto, variant: op.Variant) -> int:
    """Takes away hidden units that no gate reads; how many."""
    if variant.act == "none":
        return 0
    weights = _weights(net, node, variant)
    used = (weights["w2"] != 0).any(0)
    used[0] |= not used.any()
    if used.all():
        return 0
    kept = {"w1": weights["w1"][used], "b1": weights["b1"][used], "w2": weights["w2"][:, used]}
    _set(net, node, variant, kept | ({"slope": weights["slope"][used]} if "slope" in weights else {}))
    return int((~used).sum())


def _remove(net: Net, node: NodeProto, variant: op.Variant, channels: Channels, dead: NDArray[np.bool_]) -> int:
    """Takes dead channels out on both sides of a block; how many."""
    if not dead.any() or dead.all() or variant.skip != "none" or variant.epilogue not in ("none", "relu"):
        return 0
    behind = absorb.behind(net, node.output[0])
    upstream = _upstream(net, node.input[0], ~dead)
    if behind is None or upstream is None or any(attributes(conv).get("group", 1) != 1 for conv in behind):
        return 0
    weights = _weights(net, node, variant)
    _forget(weights, variant, channels.pooled, dead)
    keep = ~dead
    weights["w2"], weights["b2"] = weights["w2"][keep], weights["b2"][keep]
    matrix = "w2" if variant.act == "none" else "w1"
    weights[matrix] = weights[matrix][:, keep]
    _set(net, node, variant, weights)
    for conv in behind:
        weight = net.value(conv.input[1])
        assert weight is not None
        net.change(conv, 1, weight[:, keep])
    for change in upstream:
        change()
    return int(dead.sum())


def _upstream(net: Net, name: str, keep: NDArray[np.bool_]) -> list[Callable[[], None]] | None:
    """What has to be done for a tensor to have these channels alone; None where something does not let that be."""
    changes: list[Callable[[], None]] = []
    while True:
        node = net.producer(name)
        if node is None or net.is_shared(name):
            return None
        curve = _curved(net, node)
        if curve is not None:
            node = net.producer(curve)
            if node is None:
                return None
        elif is_op(node, *_ANY_CHANNEL):
            name = node.input[0]
            continue
        indices = (1, 2, 3, 4) if is_op(node, "BatchNormalization") else (1, 2) if is_op(node, "Conv") else ()
        values = [(index, net.value(node.input[index])) for index in indices if index < len(node.input) and node.input[index]]
        if not values or any(value is None or len(value) != len(keep) for _, value in values):
            return None
        changes.extend(_sliced(net, node, index, value[keep]) for index, value in values if value is not None)
        groups = attributes(node).get("group", 1)
        if is_op(node, "Conv") and groups == 1:
            return changes
        if is_op(node, "Conv"):
            if groups != len(keep):
                return None
            changes.append(_regrouped(node, int(keep.sum())))
        name = node.input[0]


def _curved(net: Net, node: NodeProto) -> str | None:
    """v of v * sigmoid(v) or v * hardsigmoid(v), where nothing else reads v."""
    if not is_op(node, "Mul"):
        return None
    for value, gate in (tuple(node.input), tuple(node.input)[::-1]):
        maker = net.producer(gate)
        if is_op(maker, "Sigmoid", "HardSigmoid") and maker is not None and maker.input[0] == value:
            return value if len(net.readers(value)) == 2 and not net.is_shared(gate) and not net.is_output(value) else None
    return None


def _sliced(net: Net, node: NodeProto, index: int, value: Float) -> Callable[[], None]:
    return lambda: net.change(node, index, value)


def _regrouped(node: NodeProto, groups: int) -> Callable[[], None]:
    def change() -> None:
        kept = [a for a in node.attribute if a.name != "group"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("group", groups)])

    return change
