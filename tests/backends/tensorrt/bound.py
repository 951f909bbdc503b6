"""Runs `formats.py` in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx

from se_deploy.backends.tensorrt.flavours import Flavour
from tests.backends.tensorrt import many
from tests.plugins import layouts
from tests.plugins.cases import Case

#: What TensorRT has of the kernels' types and layouts: there is no kHWC8 of FP32.
BOUND = [(dtype, layout) for dtype in layouts.LEGAL for layout in layouts.LEGAL[dtype] if (dtype, layout) != ("float32", "hwc8")]


def bound(flavour: Flavour, chosen: Sequence[Case], folder: Path, plugin: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """An engine of these cases, its ends bound to their layout without any reformatting; run where `files` (feeds, answers) are given."""
    onnx.save(many.network(chosen), folder / "m.onnx")
    words = (plugin, folder / "m.onnx", chosen[0].layout, folder / "e.plan", *files)
    command = [sys.executable, "-m", "tests.backends.tensorrt.formats", flavour.module, *map(str, words)]
    with flavour.environment() as added:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | added, cwd=Path(__file__).parents[3])
