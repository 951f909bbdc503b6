"""Compiles the C++ loader by CMake into the cache, once for each state of its sources and headers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import BackendError
from se_deploy.files import runtime_sources

NAME = "libse_runtime.so"
_TRIPLET = sysconfig.get_config_var("MULTIARCH") or ""


def library(progress: Progress = silent) -> Path:
    """The loader's library, compiled here where the cache does not have it.

    Raises:
        BackendError: there is no compiler, no header of any engine, or the compiler refuses.
    """
    sources, found = runtime_sources(), headers()
    place = _place(sources, found)
    if (place / NAME).is_file():
        return place / NAME
    missing = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
    if missing:
        raise BackendError(f"the C++ loader cannot be compiled: no {' and no '.join(missing)}", "install them (Debian: cmake g++)")
    progress("compile the C++ loader", 0, None)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        build = Path(scratch) / "build"
        options = [f"-D{name}={folder}" for name, folder in found.items()]
        _run(["cmake", "-S", str(sources), "-B", str(build), "-DSE_SAMPLE=OFF", *options])
        _run(["cmake", "--build", str(build), "--parallel", "2"])
        place.mkdir(exist_ok=True)
        os.replace(build / NAME, place / NAME)
    return place / NAME


def headers() -> dict[str, Path]:
    """CMake's options for the headers that are here: ONNX Runtime's, TensorRT's, CUDA's."""
    site = Path(sysconfig.get_path("purelib"))
    system = [Path("/usr/include"), Path("/usr/include") / _TRIPLET, Path("/usr/local/include")]
    looked = {
        "SE_ONNXRUNTIME_INCLUDE": ("onnxruntime_c_api.h", [folder / inner for folder in system for inner in ("", "onnxruntime")]),
        "SE_TENSORRT_INCLUDE": ("NvInferRuntime.h", [*_root("TENSORRT_ROOT"), *system, site / "kernel_lens" / "include" / "tensorrt"]),
        "SE_CUDA_INCLUDE": (
            "cuda_runtime_api.h",
            [*_root("CUDA_HOME"), Path("/usr/local/cuda/include"), site / "nvidia" / "cu13" / "include"],
        ),
    }
    found = {}
    for name, (file, folders) in looked.items():
        named = os.environ.get(name)
        place = next((f for f in ([Path(named)] if named else []) + folders if (f / file).is_file()), None)
        if place is not None:
            found[name] = place
    return found


def _root(variable: str) -> list[Path]:
    root = os.environ.get(variable)
    return [Path(root) / "include"] if root else []


def _place(sources: Path, found: dict[str, Path]) -> Path:
    whole = hashlib.sha256(repr(sorted(found.items())).encode())
    for path in sorted(sources.rglob("*")):
        if path.is_file():
            whole.update(f"\n{path.relative_to(sources)}\n".encode() + path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "se-deploy" / "runtime" / whole.hexdigest()[:16]


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if "rror" in line] or ["no reason given"]
        more = next((line.strip() for line in done.stderr.splitlines() if "no engine's headers" in line), said[0])
        raise BackendError(
            f"the C++ loader cannot be compiled: {more}",
            "for ONNX Runtime install its header (Debian: libonnxruntime-dev) or name its folder in SE_ONNXRUNTIME_INCLUDE, "
            "for TensorRT `pip install 'se-deploy[plugin]'`",
        )
