"""Real networks for tests of the graph room: timm's, their SE and BatchNorm weights shaken, exported once a run."""

import io
import warnings
from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch


def shaken(name: str, seed: int = 0, **arguments: object) -> torch.nn.Module:
    """A timm network whose gates are not all about 0.5 and whose BatchNorms are not the identity."""
    torch.manual_seed(seed)
    module = timm.create_model(name, **arguments).eval()
    for path, part in module.named_modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, 0, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, 0, 0.1)
        elif isinstance(part, torch.nn.Conv2d) and ".se" in path:
            torch.nn.init.normal_(part.weight, 0, 2 * part.in_channels**-0.5)
            torch.nn.init.normal_(part.bias, 0, 1)
    return module


@cache
def _bytes(name: str, size: int, opset: int, axes: tuple[tuple[int, str], ...]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            shaken(name), (torch.randn(2, 3, size, size),), file, dynamo=False, opset_version=opset,
            input_names=["input"], output_names=["logits"], dynamic_axes={"input": dict(axes), "logits": {0: "batch"}},
        )  # fmt: skip
    return file.getvalue()


def exported(name: str, size: int = 64, opset: int = 17, *, any_size: bool = False) -> onnx.ModelProto:
    """A fresh copy of a network's TorchScript export; its batch is dynamic, its height and width if `any_size`."""
    axes = ((0, "batch"), (2, "height"), (3, "width")) if any_size else ((0, "batch"),)
    return onnx.load_model_from_string(_bytes(name, size, opset, axes))


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime answers without its optimiser."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


def images(batch: int, size: int, seed: int = 0) -> np.ndarray:
    """Inputs whose answers differ from one another."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((batch, 3, size, size)) + rng.standard_normal((batch, 3, 1, 1))).astype(np.float32)
