"""One network by one exporter: its SE blocks counted, the fused graph checked and run beside the plain one."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from se_deploy.errors import ExportError
from se_deploy.graph.fuse import fuse
from se_deploy.networks.exporting import Exporter, to_onnx

#: What both exporters of PyTorch write.
OPSET = 18
#: The largest file that protobuf writes in one piece, with room for the graph.
_ONE_PIECE = 1_900_000_000

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What came of one export. Errors are maxima over the outputs at batches 1 and 3, as shares of the output's range."""

    found: int = 0
    #: Near misses by id.
    misses: tuple[tuple[str, int], ...] = ()
    error: float = 0.0
    #: By how much one unit in the last place of the input moves the plain graph's output, where that was asked for; as `error`.
    ulp: float | None = None
    seconds: float = 0.0
    #: Why there is no graph: the exporter's words.
    failure: str | None = None


def check(module: nn.Module, example: Tensor, exporter: Exporter, tolerance: float = 1e-5) -> Outcome:
    """Exports, fuses and compares.

    Args:
        module: in eval mode.
        example: (2, 3, H, W).
        exporter: which of PyTorch's two.
        tolerance: above this error, `ulp` is measured as well.

    Raises:
        onnx.checker.ValidationError: the fused file is not valid ONNX.
    """
    start = time.perf_counter()
    try:
        plain = to_onnx(module, example, exporter, opset=OPSET, dynamic={0: "batch"})
    except ExportError as refused:
        return Outcome(seconds=time.perf_counter() - start, failure=refused.message)
    result = fuse(plain)
    misses = Counter(rejection.id for rejection in result.found.rejections)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = _written(result.model, Path(folder, "fused.onnx")), _written(plain, Path(folder, "plain.onnx"))
        onnx.checker.check_model(str(ours), full_check=True)
        batches = [np.repeat(image[None], 3, 0) * _TONES for image in example.numpy()[:1]] + [example.numpy()[1:]]
        expected = _answers(theirs, batches)
        error = _distance(_answers(ours, batches), expected)
        ulp = _distance(_answers(theirs, [np.nextafter(b, np.float32(np.inf)) for b in batches]), expected) if error > tolerance else None
    return Outcome(len(result.fused), tuple(sorted(misses.items())), error, ulp, time.perf_counter() - start)


#: Three images of one: rows of a batch that must not answer alike.
_TONES = np.array([1.0, 0.5, -1.0], np.float32).reshape(3, 1, 1, 1)


def _written(model: ModelProto, path: Path) -> Path:
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=size > _ONE_PIECE, location=f"{path.name}.data")
    return path


def _answers(path: Path, batches: list[Float]) -> list[Float]:
    """ONNX Runtime's outputs, its optimiser off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [output for batch in batches for output in session.run(None, {name: batch})]


def _distance(given: list[Float], expected: list[Float]) -> float:
    """The largest difference, as a share of the range of what is expected over all batches."""
    span = float(max(np.ptp(np.concatenate([e.ravel() for e in expected])), np.finfo(np.float32).tiny))
    return max(float(np.abs(a - b).max()) for a, b in zip(given, expected, strict=True)) / span
