"""Whether images, as they are prepared, look like those that a network was trained on.

BatchNorm remembers what the first convolution gave on the training images: each channel's mean and variance. The same images prepared in
the same way give the same again. A network's own statistics against those of the images at hand, as the Kullback-Leibler divergence of
two normal distributions per channel, ½ (r² + z² - 1 - ln r²) with z the difference of the means and r the ratio of the deviations in
units of the trained deviation, say how far off the images are, and which other preparation of them would be nearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy.artifacts import Preprocess
from se_deploy.quant import sites

Array = NDArray[np.float32]

#: What may stand between the input and the first convolution.
_PASSING = ("Pad", "Identity", "Cast")
#: BatchNorm's epsilons in use.
_EPSILONS = (1e-5, 1e-3, 1e-4, 1e-6)
#: A channel cannot be farther off than this, so that one that is dead does not speak for all.
FARTHEST = 10.0

#: Common ways to scale pixels of 0-255: name -> (scale, mean, std), one value for every channel or three.
WAYS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "pixels of 0 to 255": (1.0, (0.0,), (1.0,)),
    "pixels of 0 to 1": (1 / 255, (0.0,), (1.0,)),
    "pixels of -1 to 1": (1 / 255, (0.5,), (0.5,)),
    "ImageNet's mean and std": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Stem:
    """The network's beginning, up to and with its first convolution, and what BatchNorm knows of its output (channels,), if anything."""

    model: ModelProto
    mean: Array | None
    std: Array | None


def stem(model: ModelProto, weights: Mapping[str, Array]) -> Stem | None:
    """The beginning of a graph whose one input goes straight into a convolution; None where it does not.

    Args:
        model: a graph with its weights; one whose first convolution is not FP32 tells nothing.
        weights: tensors of the checkpoint, for a BatchNorm that the exporter folded; those that are longer than they need be do no harm.
    """
    nodes, known = model.graph.node, sites.constants(model)
    name, path = model.graph.input[0].name, []
    while True:
        readers = [node for node in nodes if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in (*_PASSING, "Conv"):
            return None
        path.append(readers[0])
        name = readers[0].output[0]
        if readers[0].op_type == "Conv":
            break
    conv = path[-1]
    if conv.input[1] not in known or known[conv.input[1]].data_type != TensorProto.FLOAT:
        return None
    behind = [node for node in nodes if name in node.input]
    found = _kept(behind, known) or _folded(numpy_helper.to_array(known[conv.input[1]]), weights)
    mean, std = found or (None, None)
    return Stem(_cut(model, path), mean, std)


def _kept(behind: list[NodeProto], known: Mapping[str, object]) -> tuple[Array, Array] | None:
    """What a BatchNorm in the graph knows of its input."""
    if len(behind) != 1 or behind[0].op_type != "BatchNormalization" or any(name not in known for name in behind[0].input[1:5]):
        return None
    eps = next((a.f for a in behind[0].attribute if a.name == "epsilon"), 1e-5)
    mean, var = (numpy_helper.to_array(known[name]).astype(np.float32) for name in behind[0].input[3:5])  # type: ignore[arg-type]
    return mean, np.sqrt(var + np.float32(eps))


def _folded(weight: Array, weights: Mapping[str, Array]) -> tuple[Array, Array] | None:
    """What BatchNorm gives on the training images, mean beta and deviation |gamma|, found by what it did to the convolution's weight."""
    originals = [value for value in weights.values() if value.shape == weight.shape]
    for name in [key for key in weights if key.endswith("running_var")]:
        norm = name.removesuffix("running_var")
        var, gamma, beta = (weights.get(f"{norm}{part}") for part in ("running_var", "weight", "bias"))
        if var is None or gamma is None or beta is None or len(gamma) != len(weight):
            continue
        for eps in _EPSILONS:
            factor = (gamma / np.sqrt(var + eps)).reshape(-1, *[1] * (weight.ndim - 1))
            if any(np.allclose(value * factor, weight, rtol=1e-3, atol=1e-6) for value in originals):
                return beta.astype(np.float32), np.abs(gamma).astype(np.float32)
    return None


def _cut(model: ModelProto, path: list[NodeProto]) -> ModelProto:
    read = {name for node in path for name in node.input}
    known = sites.constants(model)
    weights = []
    for name in sorted(read & set(known)):
        tensor = type(known[name])()
        tensor.CopyFrom(known[name])
        tensor.name = name
        weights.append(tensor)
    made = helper.make_tensor_value_info(path[-1].output[0], 1, None)
    graph = helper.make_graph(path, "stem", [model.graph.input[0]], [made], weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


class Moments:
    """The running mean and deviation of a tensor (N, channels, ...) over everything but its channels."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, np.zeros(1), np.zeros(1)

    def add(self, values: Array) -> None:
        """Takes in a batch."""
        flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64)
        self.count += flat.shape[1]
        self.sum = self.sum + flat.sum(1)
        self.squares = self.squares + np.square(flat).sum(1)

    def mean(self) -> NDArray[np.float64]:
        """Per channel."""
        return np.asarray(self.sum / self.count)

    def std(self) -> NDArray[np.float64]:
        """Per channel."""
        return np.asarray(np.sqrt(np.maximum(self.squares / self.count - np.square(self.mean()), 0)))


def distance(seen: Moments, mean: Array, std: Array) -> float:
    """The mean over live channels of the divergence, each at most FARTHEST; 0 is a perfect fit."""
    live = std > 1e-3 * std.max()
    z = (seen.mean()[live] - mean[live]) / std[live]
    r = np.maximum(seen.std()[live] / std[live], 1e-4)
    return float(np.minimum(0.5 * (np.square(r) + np.square(z) - 1) - np.log(r), FARTHEST).mean())


def others(how: Preprocess) -> Iterator[tuple[str, str | None, Preprocess]]:
    """(what was done wrong then, what fits, the preprocessing) for each other way to prepare the same pixels, nearest first."""
    swapped = {"RGB": "BGR", "BGR": "RGB"}.get(how.color)
    turned = how.model_copy(update={"color": swapped}) if swapped else None
    if turned is not None:
        yield f"{how.color} for {swapped}", swapped, turned
    for name, (scale, mean, std) in WAYS.items():
        count = len(how.mean)
        if len(mean) not in (1, count):
            continue
        words = {"scale": scale, "mean": (mean * count)[:count], "std": (std * count)[:count]}
        yield "not normalised as in training", name, how.model_copy(update=words)
        if turned is not None:
            yield f"{how.color} for {swapped}, and not normalised as in training", name, turned.model_copy(update=words)
