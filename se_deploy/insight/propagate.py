"""The range of every tensor that no image can leave: intervals per channel, carried from the pixels through a fused graph.

All positions of a channel share one interval (interval bound propagation: Gowal et al., "Scalable verified training for provably robust
image classification", 2019, section 3), so a network costs as much as a look at its weights. Depth makes the intervals wide; what they
say is sound all the same. A tensor behind an operator that is not known here has no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from se_deploy import op
from se_deploy.artifacts import Preprocess
from se_deploy.insight import bounds
from se_deploy.insight.bounds import Box

_U = bounds.U


def pixels(how: Preprocess) -> Box:
    """The network's input for any image: pixels of 0 to 255 prepared as `how` says, per channel."""
    mean, std = np.asarray(how.mean, np.float64), np.asarray(how.std, np.float64)
    ends = [(value * how.scale - mean) / std for value in (0.0, 255.0)]
    made = Box(np.minimum(*ends), np.maximum(*ends))
    return made.wider(8 * _U * (made.peak() + np.abs(mean / std)))


def gates(model: ModelProto, inputs: Mapping[str, Box]) -> dict[str, Box]:
    """Bounds of every SqueezeExcite node's gate, by the node's name, for inputs in these boxes; nodes of unknown range are left out."""
    reach = _Reach({t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, dict(inputs))
    for node in model.graph.node:
        reach.visit(node)
    return reach.gates


@dataclass
class _Reach:
    constants: dict[str, NDArray[Any]]
    boxes: dict[str, Box]

    def __post_init__(self) -> None:
        self.gates: dict[str, Box] = {}

    def visit(self, node: NodeProto) -> None:
        """Adds the node's output, where it can be told."""
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            return
        variant = op.variant_of(node)
        if variant is not None:
            made = self._block(node, variant)
        else:
            known = node.domain in ("", "ai.onnx") and node.op_type in _RULES
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute} if known else {}
            made = _RULES[node.op_type](self, node, attributes) if known else None
        if made is not None:
            self.boxes[node.output[0]] = made

    def _block(self, node: NodeProto, variant: op.Variant) -> Box | None:
        named = dict(zip(variant.inputs, node.input, strict=True))
        x, residual = self.boxes.get(named["x"]), self.boxes.get(named.get("residual", ""))
        weights = {key: self.constants[name] for key, name in named.items() if name in self.constants}
        if x is None or variant.int8 or len(weights) < len(named) - 1 - (variant.skip == "add"):
            return None
        gate = bounds.gate(variant, x.wider(1e-5 * x.peak()), weights, op.attributes_of(node))
        self.gates[node.name] = gate
        made = _times(x, gate)
        if variant.skip != "none":
            added = x if variant.skip == "self" else residual
            if added is None:
                return None
            made = _plus(made, added)
        return bounds.act(variant.epilogue, made, {})

    def first(self, node: NodeProto) -> Box | None:
        """The box of a node's first input."""
        return self.boxes.get(node.input[0])

    def scalar(self, node: NodeProto, index: int, default: float) -> float | None:
        """A constant input of one number; the default where it is left out, None where it is not known."""
        if len(node.input) <= index or not node.input[index]:
            return default
        value = self.constants.get(node.input[index])
        return None if value is None else float(value.reshape(-1)[0])

    def any(self, name: str, like: Box | None) -> Box | None:
        """A tensor's box, or a constant's: one number, or one per channel."""
        value = self.constants.get(name)
        if value is None:
            return self.boxes.get(name)
        channels = len(like.low) if like is not None else 1
        per_channel = value.ndim >= 3 and value.size == value.shape[-3] or value.ndim == 2 and value.shape[0] == 1
        if value.size == 1 or (value.size == channels and per_channel):
            flat = np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))
            return Box(flat, flat)
        return None


Attributes = Mapping[str, Any]


def _times(a: Box, b: Box) -> Box:
    with np.errstate(invalid="ignore"):
        corners = [np.nan_to_num(x * y, nan=0.0, posinf=np.inf, neginf=-np.inf) for x in (a.low, a.high) for y in (b.low, b.high)]
    made = Box(np.minimum.reduce(corners), np.maximum.reduce(corners))
    return made.wider(2 * _U * made.peak())


def _plus(a: Box, b: Box) -> Box:
    made = Box(a.low + b.low, a.high + b.high)
    return made.wider(2 * _U * made.peak())


def _conv(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
    x, weight = reach.first(node), reach.constants.get(node.input[1])
    if x is None or weight is None:
        return None
    bias = reach.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(len(weight), np.float32)
    if bias is None:
        return None
    if any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        x = Box(np.minimum(x.low, 0), np.maximum(x.high, 0))
    groups = attributes.get("group", 1)
    rows, columns = len(weight) // groups, weight.shape[1]
    parts = []
    for group in range(groups):
        inner = Box(x.low[group * columns : (group + 1) * columns], x.high[group * columns : (group + 1) * columns])
        taps = int(np.prod(weight.shape[2:], dtype=np.int64))
        spread = Box(np.repeat(inner.low, taps), np.repeat(inner.high, taps))
        at = slice(group * rows, (group + 1) * rows)
        parts.append(bounds.layer(spread, weight[at].reshape(rows, -1), bias[at]))
    return Box(np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))


def _norm(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
    x = reach.first(node)
    values = [reach.constants.get(name) for name in node.input[1:5]]
    if x is None or any(v is None for v in values):
        return None
    scale, bias, mean, variance = (np.asarray(v, np.float64) for v in values)
    factor = scale / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shift = bias - mean * factor
    made = _plus(_times(x, Box(factor, factor)), Box(shift, shift))
    return made.wider(16 * _U * (np.abs(factor) * (x.peak() + np.abs(mean)) + np.abs(bias)))


def _both(merge: Callable[[Box, Box], Box]) -> Callable[[_Reach, NodeProto, Attributes], Box | None]:
    def rule(reach: _Reach, node: NodeProto, _: Attributes) -> Box | None:
        left, right = (reach.boxes.get(name) for name in node.input)
        a, b = reach.any(node.input[0], right), reach.any(node.input[1], left)
        return merge(a, b) if a is not None and b is not None and len(a.low) == len(b.low) else None

    return rule


def _act(kind: str) -> Callable[[_Reach, NodeProto, Attributes], Box | None]:
    def rule(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
        x = reach.first(node)
        return None if x is None else bounds.act(kind, x, {"leak": attributes.get("alpha", 0.01)})

    return rule


def _gate(kind: str) -> Callable[[_Reach, NodeProto, Attributes], Box | None]:
    def rule(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
        x = reach.first(node)
        own = (
            {"alpha": attributes.get("alpha", 0.2), "beta": attributes.get("beta", 0.5)}
            if kind == "hardsigmoid"
            else {"alpha": 1.0, "beta": 0.0}
        )
        return None if x is None else bounds.squashed(kind, x, own)

    return rule


def _clip(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
    x = reach.first(node)
    low = reach.scalar(node, 1, attributes.get("min", -np.inf))
    high = reach.scalar(node, 2, attributes.get("max", np.inf))
    return None if x is None or low is None or high is None else Box(np.clip(x.low, low, high), np.clip(x.high, low, high))


def _concat(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
    parts = [reach.boxes.get(name) for name in node.input]
    if attributes["axis"] != 1 or any(p is None for p in parts):
        return None
    known = [p for p in parts if p is not None]
    return Box(np.concatenate([p.low for p in known]), np.concatenate([p.high for p in known]))


def _mean(reach: _Reach, node: NodeProto, attributes: Attributes) -> Box | None:
    """A mean of values, with zeros among them where a window reaches over the edge and counts it."""
    x = reach.first(node)
    if x is None:
        return None
    if attributes.get("count_include_pad", 0):
        x = Box(np.minimum(x.low, 0), np.maximum(x.high, 0))
    return x.wider(1e-5 * x.peak())


def _same(reach: _Reach, node: NodeProto, _: Attributes) -> Box | None:
    return reach.first(node)


_RULES: dict[str, Callable[[_Reach, NodeProto, Attributes], Box | None]] = {
    "Conv": _conv, "BatchNormalization": _norm, "Add": _both(_plus), "Mul": _both(_times), "Relu": _act("relu"),
    "LeakyRelu": _act("leaky"), "HardSwish": _act("hardswish"), "Sigmoid": _gate("sigmoid"), "HardSigmoid": _gate("hardsigmoid"),
    "Tanh": _gate("tanh"), "Clip": _clip, "Concat": _concat, "MaxPool": _same, "Identity": _same, "Dropout": _same,
    "AveragePool": _mean, "GlobalAveragePool": _mean,
}  # fmt: skip
