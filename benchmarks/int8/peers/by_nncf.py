"""NNCF on an ONNX file, with the bias correction it comes with.

`mixed` has asymmetric activations, so it is not for TensorRT; in `performance` everything is symmetric.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nncf
import onnx

if TYPE_CHECKING:
    from benchmarks.int8.peers.quantize import Calibration

PRESETS = {"mixed": nncf.QuantizationPreset.MIXED, "performance": nncf.QuantizationPreset.PERFORMANCE}


def quantize(model: Path, method: str, data: Calibration, out: Path) -> None:
    """Writes the quantized model."""
    feeds = nncf.Dataset(data, lambda pixels: {data.name: pixels})
    onnx.save(nncf.quantize(onnx.load(model), feeds, preset=PRESETS[method], subset_size=len(data)), out)
