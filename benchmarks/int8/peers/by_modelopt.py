"""NVIDIA's Model Optimizer on an ONNX file: symmetric, as TensorRT takes it. It takes all images at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from modelopt.onnx.quantization import quantize as by_modelopt

if TYPE_CHECKING:
    from benchmarks.int8.peers.quantize import Calibration


def quantize(model: Path, method: str, data: Calibration, out: Path) -> None:
    """Writes the quantized model."""
    by_modelopt(
        str(model),
        quantize_mode="int8",
        calibration_data={data.name: np.concatenate(list(data))},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(out),
    )
