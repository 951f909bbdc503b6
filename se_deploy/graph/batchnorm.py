"""A BatchNorm behind a convolution goes into its weights, so that nothing stands between the two when they become integers or FP16.

    conv(w, b) ── BatchNorm(gamma, beta, mean, var)      conv(f w, f (b - mean) + beta),  f = gamma / sqrt(var + eps)

(Ioffe and Szegedy, 2015, in inference.) The convolution's output takes the BatchNorm's name; an Identity on the way goes too.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto

from se_deploy.graph.net import Net, attributes, is_op


def folded(model: ModelProto) -> ModelProto:
    """The FP32 model without BatchNorms that a convolution can take and without Identity nodes inside; the one given stays as it is."""
    net = Net(model)
    for node in list(net.nodes):
        if is_op(node, "Identity"):
            _drop(net, node)
    for node in list(net.nodes):
        if is_op(node, "BatchNormalization"):
            _fold(net, node)
    return net.finished()


def _drop(net: Net, node: NodeProto) -> None:
    if not net.is_output(node.output[0]) and net.producer(node.input[0]) is not None:
        net.nodes.remove(node)
        net.rename(node.output[0], node.input[0])


def _fold(net: Net, node: NodeProto) -> None:
    conv, named = net.producer(node.input[0]), attributes(node)
    if conv is None or not is_op(conv, "Conv") or net.is_shared(node.input[0]) or named.get("training_mode") or len(node.output) > 1:
        return
    weight = net.value(conv.input[1])
    biased = len(conv.input) > 2 and bool(conv.input[2])
    bias = net.value(conv.input[2]) if biased else np.zeros(1, np.float32)
    parts = [net.value(name) for name in node.input[1:5]]
    if weight is None or bias is None or any(part is None for part in parts):
        return
    gamma, beta, mean, var = (np.asarray(part, np.float64) for part in parts)
    factor = gamma / np.sqrt(var + float(str(named.get("epsilon", 1e-5))))
    net.change(conv, 1, weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))
    shifted = (bias - mean) * factor + beta
    if biased:
        net.change(conv, 2, shifted)
    else:
        del conv.input[2:]
        conv.input.append(net.constant(f"{node.output[0]}.bias", shifted))
    conv.output[0] = node.output[0]
    net.nodes.remove(node)
