"""What integer convolutions give to nodes in float, one scale for each channel.

    conv(w) ── Q ── DQ ── HardSwish          conv(w / s) ── Q ── DQ ── (* s) ── HardSwish

The integer convolution has one output scale; its weights' scales take the division, and a Mul undoes it. That costs little where ONNX
Runtime dequantizes for each reader without it, more in front of a SiLU that is one node (benchmarks/cpu.py). Its DequantizeLinear with a
scale per channel makes a network 2 to 5 times as slow.
Only in the unsigned form; the other has no pair there.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from se_deploy.quant import sites

#: What the scale of such a tensor is called after the tensor.
SUFFIX = "/by-channel"


def find(model: ModelProto) -> dict[str, int]:
    """Tensor -> the index of the convolution that makes it (right before, or with a Relu between); BatchNorm is folded."""
    found = sites.find(model, outputs=True)
    nodes, known = model.graph.node, sites.constants(model)
    layers = {layer.index: layer for layer in found.layers}
    made = {name: index for index, node in enumerate(nodes) for name in node.output}
    taken = {}
    for name, uses in found.tensors.items():
        if name not in made or any(index in layers or sites.is_residual(nodes[index], known) for index, _ in uses):
            continue
        index = made[name]
        if _is_relu(nodes[index], known):
            index = made.get(nodes[index].input[0], index)
        layer = layers.get(index)
        if layer is not None and nodes[index].op_type == "Conv" and (layer.bias is not None or len(nodes[index].input) < 3):
            taken[name] = index
    return taken


def _is_relu(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    """A Relu, or a Clip from 0 up."""
    if node.op_type != "Clip":
        return node.op_type == "Relu"
    low, high = [*node.input[1:], "", ""][:2]
    bound = known.get(low)
    return bound is not None and not high and not numpy_helper.to_array(bound).any()
