"""ONNX Runtime for these tests: a model in memory, one thread."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper


def run(model: ModelProto, x: np.ndarray, *extra: str, optimised: bool = False) -> list[np.ndarray]:
    """The network's output, then the tensors named."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in extra)
    return session(watched, optimised).run(None, {"x": x})


def session(model: ModelProto, optimised: bool, save: str = "") -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.optimized_model_filepath = save
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def kernels(model: ModelProto, folder: object) -> list[str]:
    """The operators that ONNX Runtime executes after its optimisation."""
    path = f"{folder}/optimised.onnx"
    session(model, True, path)
    return [node.op_type for node in onnx.load(path).graph.node]


def sqnr(want: np.ndarray, got: np.ndarray) -> float:
    """Signal over error, dB; the signal is what differs between images, so that a constant answer earns nothing."""
    return float(10 * np.log10(np.square(want - want.mean(0)).sum() / np.square(got - want).sum()))
