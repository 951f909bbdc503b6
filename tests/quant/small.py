"""A small fused FP32 network, built by hand so that every place of a Q/DQ pair is known; no torch.

x ─ conv0 ─ Relu ─┬─ dw (depthwise) ─ SiLU ─ pw ─ SqueezeExcite(…, residual = relu0, Relu) = se ─┐
                  └───────────────────────────────────────────────────────────────────── (residual)
se ─┬─ conv1 ─┐
    └─────────┴─ Add ─ Relu = sum ─ conv2 ─ SqueezeExcite (no skip) = se2 ─ GlobalAveragePool ─ Flatten ─ Gemm = y
"""

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op

C, CLASSES, SIZE = 16, 10, 32
FIRST = op.Variant(skip="add", epilogue="relu")
SECOND = op.Variant(gate="hardsigmoid")

#: Tensors that get a pair in the lean placement, with the (node, input) that read the pair; se2's pool and the residual stay float.
LEAN = {
    "x": [("conv0", 0)],
    "relu0": [("dw", 0)],
    "silu": [("pw", 0)],
    "se": [("conv1", 0), ("add", 1)],
    "conv1_out": [("add", 0)],
    "sum": [("conv2", 0)],
    "flat": [("fc", 0)],
}
#: With pairs on both sides of every convolution.
BOTH_SIDES = {
    "x": [("conv0", 0)],
    "relu0": [("dw", 0), ("se", 5)],
    "dw_out": [("sigmoid", 0), ("mul", 0)],
    "silu": [("pw", 0)],
    "pw_out": [("se", 0)],
    "se": [("conv1", 0), ("add", 1)],
    "conv1_out": [("add", 0)],
    "sum": [("conv2", 0)],
    "conv2_out": [("se2", 0)],
    "flat": [("fc", 0)],
}
#: The lean placement with pairs around SE blocks.
BLOCKS = {
    "x": [("conv0", 0)],
    "relu0": [("dw", 0), ("se", 5)],
    "silu": [("pw", 0)],
    "pw_out": [("se", 0)],
    "se": [("conv1", 0), ("add", 1)],
    "conv1_out": [("add", 0)],
    "sum": [("conv2", 0)],
    "conv2_out": [("se2", 0)],
    "se2": [("pool", 0)],
    "flat": [("fc", 0)],
}
#: What calibration measures: what any of these needs, in graph order.
MEASURED = [*list(BOTH_SIDES)[:-1], "se2", "flat"]


class Weights:
    """Random weights with an uneven spread over channels, as BatchNorm folding leaves them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, np.ndarray] = {}

    def conv(self, name: str, out: int, inp: int, k: int, gain: float = 1.0) -> list[str]:
        spread = np.exp(self.rng.normal(0, 0.4, (out, 1, 1, 1)))
        w = self.rng.standard_normal((out, inp, k, k)) * gain * np.sqrt(2 / (inp * k * k)) * spread
        self.tensors[f"{name}.weight"] = w.astype(np.float32)
        self.tensors[f"{name}.bias"] = (self.rng.standard_normal(out) * 0.2).astype(np.float32)
        return [f"{name}.weight", f"{name}.bias"]

    def se(self, name: str, reduced: int = 4) -> list[str]:
        sizes = {"w1": (reduced, C), "b1": (reduced,), "w2": (C, reduced), "b2": (C,)}
        for key, size in sizes.items():
            self.tensors[f"{name}.{key}"] = self.rng.standard_normal(size).astype(np.float32)
        return [f"{name}.{key}" for key in sizes]


def network(seed: int = 0, opset: int = 17, batch: str | int = "N", channels: int = 3) -> ModelProto:
    w = Weights(seed)
    conv = helper.make_node
    nodes = [
        conv("Conv", ["x", *w.conv("conv0", C, channels, 3)], ["conv0_out"], "conv0", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["conv0_out"], ["relu0"], "relu0"),
        conv("Conv", ["relu0", *w.conv("dw", C, 1, 3)], ["dw_out"], "dw", pads=[1, 1, 1, 1], group=C),
        helper.make_node("Sigmoid", ["dw_out"], ["gate"], "sigmoid"),
        helper.make_node("Mul", ["dw_out", "gate"], ["silu"], "mul"),
        conv("Conv", ["silu", *w.conv("pw", C, C, 1)], ["pw_out"], "pw"),
        op.make_node(FIRST, ["pw_out", *w.se("se"), "relu0"], "se", "se"),
        conv("Conv", ["se", *w.conv("conv1", C, C, 3)], ["conv1_out"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["conv1_out", "se"], ["add_out"], "add"),
        helper.make_node("Relu", ["add_out"], ["sum"], "relu1"),
        conv("Conv", ["sum", *w.conv("conv2", C, C, 1)], ["conv2_out"], "conv2"),
        op.make_node(SECOND, ["conv2_out", *w.se("se2")], "se2", "se2", {"alpha": 1 / 6, "beta": 0.5}),
        helper.make_node("GlobalAveragePool", ["se2"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    w.tensors["fc.weight"] = w.rng.standard_normal((CLASSES, C)).astype(np.float32)
    w.tensors["fc.bias"] = w.rng.standard_normal(CLASSES).astype(np.float32) * np.float32(0.1)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in w.tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    op.declare(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def weight(model: ModelProto, name: str) -> np.ndarray:
    """An initializer's values."""
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def replace(model: ModelProto, name: str, values: np.ndarray) -> None:
    """Gives an initializer other values."""
    next(t for t in model.graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(values, name))


def images(count: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth random images of differing contrast and tint, (count, channels, 32, 32)."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, channels, 8, 8)).repeat(4, 2).repeat(4, 3)
    pixels = coarse + 0.3 * rng.standard_normal((count, channels, SIZE, SIZE))
    contrast, tint = rng.uniform(0.2, 1.5, (count, 1, 1, 1)), rng.standard_normal((count, channels, 1, 1))
    return (pixels * contrast + tint).astype(np.float32)
