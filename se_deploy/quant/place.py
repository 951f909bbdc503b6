"""Writes Q/DQ nodes into a fused FP32 graph: one pair per activation tensor, one DequantizeLinear per weight.

    before   x ── Conv(w, b) ── Relu ── y            after   x ── Q ── DQ ── Conv(DQ(w_int8), b) ── Relu ── y

`signed` is the form that TensorRT takes: int8, zero point 0, weights per output channel, biases in FP32. Otherwise the form that
ONNX Runtime's CPU provider runs fastest: uint8 activations, pairs on both sides of a convolution, biases in int32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.artifacts import TensorScale
from se_deploy.errors import QuantError
from se_deploy.quant import blocks, outputs, ranges, shifts, sites, weights
from se_deploy.quant.blocks import drop_unused
from se_deploy.quant.shifts import Shift
from se_deploy.quant.sites import Sites, Weighted

#: A layer's index and the divisors (channels,) of what it gives.
Divided = tuple[int, NDArray[np.float32]]
_NONE = np.zeros(0, np.float32)

#: Per-channel DequantizeLinear came with it.
MIN_OPSET = 13


def place(
    model: ModelProto,
    scales: Mapping[str, TensorScale],
    *,
    signed: bool = True,
    integer_blocks: bool = False,
    halves: Collection[str] = (),
    floats: Collection[str] = (),
    divided: Mapping[str, Sequence[float]] = MappingProxyType({}),
    shifted: Collection[str] = (),
) -> None:
    """Quantizes `model` in place.

    Args:
        model: a fused graph, weights loaded, opset 13 or later; FP32, or (signed only, opset 19 or later) what `to_half` made of one.
        scales: by tensor name; those that the placement needs must be there, others are not read. What a Cast gives has its input's.
        signed: symmetric int8 for TensorRT, or asymmetric uint8 activations for ONNX Runtime.
        integer_blocks: SqueezeExcite nodes read and give int8 themselves (signed only).
        halves: names of the tensors that are FP16: their scales are FP16 too, as are those of the weights beside them.
        floats: names of the nodes that stay in float (`sites.find`).
        divided: by tensor (`outputs.find`), what its channels are divided by in integers (unsigned only).
        shifted: tensors that a constant is added to first (signed only, `shifts.find`).

    Raises:
        QuantError: the graph holds Q/DQ nodes already, has nothing to quantize, or a tensor without a scale; a weight is not finite.
    """
    check(model)
    found = sites.find(model, outputs=not signed, blocks=integer_blocks, halves=bool(halves), floats=floats)
    if not found.layers and not floats:
        raise QuantError("the graph has no Conv, Gemm or MatMul with constant FP32 weights", "build it without --int8")
    split = {name: index for name, index in outputs.find(model).items() if name in divided and name in found.tensors} if not signed else {}
    names = {name: f"{source}{outputs.SUFFIX}" if name in split else source for name, source in _sources(model, found).items()}
    measured = {name: scales.get(source) for name, source in names.items()}
    unknown = [name for name, scale in measured.items() if scale is None]
    if unknown:
        raise QuantError(f"no scale for {len(unknown)} tensor(s), first {unknown[0]}", "calibrate again")
    integers = {name: (ranges.signed if signed else ranges.unsigned)(scale) for name, scale in measured.items() if scale is not None}
    moved = _shifts(model, found, measured, shifted if signed else (), halves, integer_blocks)
    integers |= {name: one.integers for name, one in moved.items()}
    integers |= {name: ranges.halved(integers[name]) for name in integers if name in halves and name not in moved}
    known = sites.constants(model)
    channels = {name: known[model.graph.node[index].input[1]].dims[0] for name, index in split.items()}
    factors = {name: (index, _factors(name, channels[name], divided[name])) for name, index in split.items()}
    _Rewrite(model, found, integers, int_bias=not signed, divided=factors, shifted=moved).run()
    if integer_blocks:
        blocks.absorb(model)


def check(model: ModelProto) -> None:
    """Refuses a graph that cannot be quantized, before any image is read.

    Raises:
        QuantError: it holds Q/DQ nodes already, or its opset is too old.
    """
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise QuantError("the graph is quantized already", "build it without --int8, which keeps its Q/DQ nodes")
    opset = op.opset_of(model)
    if opset < MIN_OPSET:
        raise QuantError(f"opset {opset} has no per-channel DequantizeLinear", f"export with --opset {MIN_OPSET} or later")


def _sources(model: ModelProto, found: Sites) -> dict[str, str]:
    """Each tensor to quantize -> the one that was measured: the same, or what a Cast made it of."""
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    return {name: casts.get(name, name) for name in found.tensors}


def _factors(name: str, channels: int, given: Sequence[float]) -> NDArray[np.float32]:
    """What the channels of a convolution's output, so many, are divided by.

    Raises:
        QuantError: they are not positive numbers, one for each channel.
    """
    values = np.array(given, np.float32)
    if len(values) != channels or not (np.isfinite(values).all() and (values > 0).all()):
        raise QuantError(
            f"{name} has {channels} channels, and the scales divide them by other than so many positive numbers", "calibrate again"
        )
    return values


def _shifts(
    model: ModelProto,
    found: Sites,
    measured: Mapping[str, TensorScale | None],
    wanted: Collection[str],
    halves: Collection[str],
    blocks: bool,
) -> dict[str, Shift]:
    names = [name for name in shifts.find(model, found, blocks=blocks) if name in wanted] if wanted else []
    known = ((name, measured[name]) for name in names)
    moved = {name: one for name, scale in known if scale is not None and (one := shifts.shift(scale)) is not None}
    return {name: shifts.halved(one) if name in halves else one for name, one in moved.items()}


class _Rewrite:
    """One pass over the nodes in order, so that what is written is sorted as the graph was."""

    def __init__(
        self,
        model: ModelProto,
        found: Sites,
        integers: Mapping[str, ranges.Integers],
        int_bias: bool,
        divided: Mapping[str, Divided],
        shifted: Mapping[str, Shift],
    ) -> None:
        self.graph = model.graph
        self.layers = {layer.index: layer for layer in found.layers}
        self.tensors = found.tensors
        self.integers = integers
        self.int_bias = int_bias
        self.shifted = shifted
        #: Channels' divisors by tensor, and by the layer that makes it.
        self.divided = {name: factors for name, (_, factors) in divided.items()}
        self.divisors = dict(divided.values())
        self.makers = {name: index for name, (index, _) in divided.items()}
        self.constants = sites.constants(model)
        self.nodes: list[NodeProto] = []
        #: (weight, its scales) -> what was written for it: layers that share a weight share that.
        self.shared: dict[tuple[str, bytes], str] = {}

    def run(self) -> None:
        """Replaces the graph's nodes."""
        old = list(self.graph.node)
        for name in (i.name for i in self.graph.input):
            self._pair(name)
        for name, uses in self.tensors.items():
            for index, position in uses:
                old[index].input[position] = _after(name)
        for index, node in enumerate(old):
            if index in self.layers:
                self._weights(node, self.layers[index])
            self.nodes.append(node)
            for name in node.output:
                self._pair(name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        drop_unused(self.graph)

    def _pair(self, name: str) -> None:
        if name not in self.tensors:
            return
        scale = self._constant(f"{name}/scale", np.asarray(self.integers[name].scale))
        zero = self._constant(f"{name}/zero_point", np.asarray(self.integers[name].zero_point))
        quantized, source = f"{name}/quantized", name
        if name in self.shifted:
            source = f"{name}/shifted"
            constant = np.asarray(self.shifted[name].constant, self.integers[name].scale.dtype)
            self.nodes.append(helper.make_node("Add", [name, self._constant(f"{name}/shift", constant)], [source], f"{name}/Add"))
        self.nodes.append(helper.make_node("QuantizeLinear", [source, scale, zero], [quantized], f"{name}/QuantizeLinear"))
        inputs = [quantized, scale, zero]
        if name in self.divided:
            after = f"{name}/divided"
            factors = self._constant(f"{name}/divisors", self._across(self.divided[name], name))
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [after], f"{name}/DequantizeLinear"))
            self.nodes.append(helper.make_node("Mul", [after, factors], [_after(name)], f"{name}/Mul"))
            return
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [_after(name)], f"{name}/DequantizeLinear"))

    def _weights(self, node: NodeProto, layer: Weighted) -> None:
        """Gives the layer its weight from integers, and where wanted its bias."""
        weight = self._divided(layer.index, self._float(layer.weight, node))
        half = self.constants[layer.weight].data_type == TensorProto.FLOAT16
        scales = weights.channel_scales(weight, layer.axis)
        bias = self._divided(layer.index, self._float(layer.bias, node)) if layer.bias else None
        if bias is not None and bias.shape == scales.shape:
            # In the signed form too: ONNX Runtime quantizes the biases that it finds between pairs itself, and wraps.
            step = np.float32(self.integers[layer.source].scale)
            scales = weights.room_for_bias(scales, bias, step, weight.size // len(scales))
        if half:
            scales = ranges.up_to_half(scales)
        if self.int_bias and bias is not None and bias.shape == scales.shape:
            self._bias(node, bias, scales * np.float32(self.integers[layer.source].scale))
        key = (layer.weight, scales.tobytes() + self.divisors.get(layer.index, _NONE).tobytes())
        if key not in self.shared:
            name = f"{layer.weight}/{layer.index}" if any(w == layer.weight for w, _ in self.shared) else layer.weight
            values = weights.quantize(weight, scales, layer.axis)
            self.shared[key] = self._dequantized(name, values, scales.astype(np.float16) if half else scales, layer.axis)
        node.input[1] = self.shared[key]
        if layer.source in self.shifted:
            self._take_back(node, layer, weight, scales, half)

    def _take_back(self, node: NodeProto, layer: Weighted, weight: NDArray[np.float32], scales: NDArray[np.float32], half: bool) -> None:
        """Gives the layer a bias that takes back what was added to its input."""
        shape = [-1 if axis == layer.axis else 1 for axis in range(weight.ndim)]
        held = weights.quantize(weight, scales, layer.axis).astype(np.float32) * scales.reshape(shape)
        old = self._float(layer.bias, node) if layer.bias else None
        values = shifts.bias(old, held, layer.axis, self.shifted[layer.source].constant)
        name = self._constant(f"{node.output[0]}/bias", values.astype(np.float16) if half else values)
        del node.input[2:]
        node.input.append(name)

    def _bias(self, node: NodeProto, bias: NDArray[np.float32], steps: NDArray[np.float32]) -> None:
        """Quantizes the bias to int32, of which each channel has its step."""
        node.input[2] = self._dequantized(f"{node.output[0]}/bias", weights.quantize(bias, steps, 0, np.int32), steps, 0)

    def _across(self, factors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """Factors of a tensor's channels, to be multiplied with it."""
        layer = self.layers[self.makers[name]]
        return factors.reshape(1, -1, *[1] * (len(self.constants[layer.weight].dims) - 2))

    def _divided(self, index: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A layer's weight or bias for an output whose channels are divided."""
        divisor = self.divisors.get(index)
        return values if divisor is None else values / divisor.reshape(-1, *[1] * (values.ndim - 1))

    def _float(self, name: str, node: NodeProto) -> NDArray[np.float32]:
        values = numpy_helper.to_array(self.constants[name]).astype(np.float32)
        if not np.isfinite(values).all():
            raise QuantError(f"{name}, a weight of {node.name}, is not finite", "mend the checkpoint")
        return values

    def _dequantized(self, name: str, values: NDArray[np.signedinteger], scales: NDArray[np.floating], axis: int) -> str:
        inputs = [self._constant(f"{name}/quantized", values), self._constant(f"{name}/scale", scales)]
        inputs.append(self._constant(f"{name}/zero_point", np.zeros(scales.shape, values.dtype)))
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [_after(name)], f"{name}/DequantizeLinear", axis=axis))
        return _after(name)

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name


def _after(name: str) -> str:
    return f"{name}/dequantized"
