"""What a machine has for building and serving: each line ok, missing or a mismatch, with the one command that mends it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal

from se_deploy.artifacts import Record

Status = Literal["ok", "missing", "mismatch"]

#: CUDA that the driver must offer: the plugin's and TensorRT 11's runtimes are of CUDA 13 (driver 580).
CUDA = (13, 0)
#: A build of a large network keeps its ONNX files, weights and engine.
DISK_GB = 5
_GB = 1 << 30
DRIVER = "apt-get install nvidia-driver"


class Check(Record):
    """One line: `detail` says what there is, `remedy` is the command that mends it (None where nothing is to be mended)."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def safely(name: str, check: Callable[[], Check | list[Check]]) -> list[Check]:
    """The check's lines; whatever it raises becomes a line, because a broken installation is what this command is for."""
    try:
        made = check()
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        return [
            Check(name=name, status="mismatch", detail=f"{type(error).__name__}: {said}", remedy="pip install --force-reinstall se-deploy")
        ]
    return made if isinstance(made, list) else [made]


def gpu() -> list[Check]:
    """The GPU, the driver, and the CUDA that it offers, asked of the driver's library."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return [Check(name=name, status="missing", detail="no NVIDIA driver is here", remedy=DRIVER) for name in ("GPU", "driver", "CUDA")]
    count, version = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    offered = version.value // 1000, version.value % 1000 // 10
    driver = Check(name="driver", status="ok", detail=_driver_version())
    text = f"{offered[0]}.{offered[1]}"
    fits = offered >= CUDA
    toolkit = Check(
        name="CUDA",
        status="ok" if fits else "mismatch",
        detail=f"the driver offers {text}" + ("" if fits else f", the plugin needs {CUDA[0]}.{CUDA[1]} (driver 580 or newer)"),
        remedy=None if fits else DRIVER,
    )
    failed = cuda.cuInit(0)
    if failed or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        reason = f"the driver finds none (CUDA error {failed})"
        return [Check(name="GPU", status="missing", detail=reason, remedy="nvidia-smi"), driver, toolkit]
    return [Check(name="GPU", status="ok", detail=", ".join(_device(cuda, number) for number in range(count.value))), driver, toolkit]


def _device(cuda: ctypes.CDLL, number: int) -> str:
    name, major, minor = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetName(name, len(name), number)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, number)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, number)
    return f"{name.value.decode(errors='replace')} (sm_{major.value}{minor.value})"


def _driver_version() -> str:
    file = Path("/proc/driver/nvidia/version")
    found = re.search(r"\d{3}\.\d+(?:\.\d+)?", file.read_text()) if file.is_file() else None
    return found[0] if found else "its version is not told"


_PROVIDERS = """
import json, onnxruntime as ort
from onnx import TensorProto, helper
port = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [port("x")], [port("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
options = ort.SessionOptions()
options.log_severity_level = 4
started = {}
for name in ort.get_available_providers():
    try:
        started[name] = name in ort.InferenceSession(model, options, providers=[name]).get_providers()
    except Exception:
        started[name] = False
print(json.dumps([ort.__version__, started]))
"""


def providers() -> list[Check]:
    """ONNX Runtime's providers that really start: each is tried, in a process of its own, because a missing library may print or crash."""
    done = subprocess.run([sys.executable, "-c", _PROVIDERS], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it does not start"])[-1]
        return [Check(name="ONNX Runtime", status="missing", detail=last[:200], remedy="pip install onnxruntime")]
    version, started = json.loads(done.stdout.splitlines()[-1])  # a provider may print before
    cuda = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return [
        Check(
            name=f"ONNX Runtime {name.removesuffix('ExecutionProvider')}",
            status="ok" if runs else "missing",
            detail=f"{version}, the provider {'starts' if runs else 'does not start: its libraries or a GPU are missing'}",
            remedy=None if runs else cuda,
        )
        for name, runs in sorted(started.items(), key=lambda item: not item[1])
    ]


def client() -> Check:
    """Triton's client."""
    try:
        return Check(name="Triton client", status="ok", detail=f"tritonclient {metadata.version('tritonclient')}")
    except metadata.PackageNotFoundError:
        return Check(
            name="Triton client", status="missing", detail="tritonclient is not installed", remedy="pip install 'se-deploy[triton]'"
        )


def compiler() -> Check:
    """What compiles the C++ loader."""
    missing = [name for name in ("cmake", "c++") if shutil.which(name) is None]
    if missing:
        return Check(name="C++ compiler", status="missing", detail=f"no {' and no '.join(missing)}", remedy="apt-get install cmake g++")
    said = subprocess.run(["c++", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return Check(name="C++ compiler", status="ok", detail=said[0] if said else "c++")


def disk() -> Check:
    """Room in the working directory."""
    free = shutil.disk_usage(os.curdir).free / _GB
    if free < DISK_GB:
        return Check(
            name="disk",
            status="mismatch",
            detail=f"{free:.1f} GB free here, an engine of a large network wants {DISK_GB}",
            remedy="du -xh . | sort -h | tail",
        )
    return Check(name="disk", status="ok", detail=f"{free:.0f} GB free here")
