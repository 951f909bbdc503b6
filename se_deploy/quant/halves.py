"""INT8 with FP16 around it: the tensors and the layers' weights whose scales FP16 cannot hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from se_deploy.artifacts import TensorScale
from se_deploy.quant import ranges, sites, weights

#: How much larger a weight's squared error may get by scales that are raised to FP16's least.
WORSE = 2.0


def tensors(scales: Mapping[str, TensorScale]) -> dict[str, str]:
    """The tensors with a scale below FP16's least, and why they cannot be FP16."""
    least = float(ranges.LEAST_HALF)
    small = {name: scale.scale for name, scale in scales.items() if scale.scale < least}
    return {name: f"has the INT8 scale {scale:.2g}, the least in FP16 is {least:.2g}" for name, scale in small.items()}


def layers(model: ModelProto) -> dict[str, str]:
    """The layers of a fused FP32 graph whose weights' scales FP16 would raise too far, by node name (what it gives, without one)."""
    known, found = sites.constants(model), {}
    for layer in sites.find(model).layers:
        weight = numpy_helper.to_array(known[layer.weight]).astype(np.float32)
        scales = weights.channel_scales(weight, layer.axis)
        scales = scales[np.moveaxis(weight, layer.axis, 0).reshape(len(scales), -1).any(axis=1)]
        if _noise(ranges.up_to_half(scales)) > WORSE * _noise(scales):
            node = model.graph.node[layer.index]
            found[node.name or node.output[0]] = f"the INT8 scales of {layer.weight} are {scales.max():.2g} at most, too small for FP16"
    return found


def _noise(scales: NDArray[np.float32]) -> float:
    return float(np.square(scales, dtype=np.float64).sum())
