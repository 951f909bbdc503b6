"""ONNX Runtime's quantizer, as its documentation recommends it: preprocessed, Q/DQ, weights per channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

if TYPE_CHECKING:
    from benchmarks.int8.peers.quantize import Calibration

METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, data: Calibration) -> None:
        self.name, self.left = data.name, iter(data)

    def get_next(self) -> dict[str, Any] | None:
        """The next feed."""
        pixels = next(self.left, None)
        return None if pixels is None else {self.name: pixels}


def quantize(model: Path, method: str, data: Calibration, out: Path) -> None:
    """Writes the quantized model."""
    plain = out.with_suffix(".plain.onnx")
    quant_pre_process(str(model), str(plain), skip_symbolic_shape=True)  # it is for transformers, and fails on PP-OCR's cls
    quantize_static(str(plain), str(out), _Reader(data), quant_format=QuantFormat.QDQ, per_channel=True, calibrate_method=METHODS[method])
    plain.unlink()
