"""The C++ loader compiled for tests: once for each way of compiling, kept in the cache under a hash of its sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from se_deploy.backends.cpp.compiling import headers, library
from se_deploy.backends.cpp.loader import installed
from se_deploy.files import runtime_sources

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "se-deploy-tests"
UNPACKED = CACHE / "onnxruntime-dev" / "usr" / "include" / "onnxruntime"
SITE = Path(sysconfig.get_path("purelib"))

#: ONNX Runtime's leaks at exit are not ours.
SANITIZED = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def header() -> Path:
    """The folder of ONNX Runtime's C header: the system's, one that is named, or the one that tests/setup.sh unpacked."""
    found = headers().get("SE_ONNXRUNTIME_INCLUDE", UNPACKED)
    if not (found / "onnxruntime_c_api.h").is_file():
        pytest.skip("no onnxruntime_c_api.h: run tests/setup.sh")
    return found


def tools(*names: str) -> None:
    """Skips where a program is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed: run tests/setup.sh")


def build(target: str, *options: str, compiler: str = "c++") -> Path:
    """A target of plugins/runtime, compiled with warnings as errors against the headers of the test environment's wheels."""
    tools("cmake", compiler)
    words = [
        f"-DSE_ONNXRUNTIME_INCLUDE={header()}",
        f"-DSE_TENSORRT_INCLUDE={headers().get('SE_TENSORRT_INCLUDE', '')}",
        f"-DSE_CUDA_INCLUDE={headers().get('SE_CUDA_INCLUDE', '')}",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DSE_WERROR=ON",
        *options,
    ]
    whole = hashlib.sha256(repr(words).encode())
    for path in sorted(runtime_sources().rglob("*")):
        if path.is_file():
            whole.update(path.read_bytes())
    place = CACHE / "runtime" / whole.hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / target).exists():
            run(["cmake", "-S", str(runtime_sources()), "-B", str(place), *words])
            run(["cmake", "--build", str(place), "--target", target.removeprefix("lib").removesuffix(".so"), "--parallel", "2"])
    return place / target


def loader() -> Path:
    """The library that `bench --runtime cpp` compiles, with the header that tests found."""
    tools("cmake", "c++")
    os.environ["SE_ONNXRUNTIME_INCLUDE"] = str(header())
    return library()


def run(words: list[str]) -> str:
    """A command that must succeed; what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def environment(**more: str) -> dict[str, str]:
    """For a program that runs ONNX Runtime engines."""
    library = installed("onnxruntime")
    return os.environ | SANITIZED | ({"SE_ONNXRUNTIME": str(library)} if library else {}) | more
