"""What can compile the plugin here: an nvcc, a host compiler, TensorRT's headers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from se_deploy.errors import BackendError

REMEDY = "`pip install 'se-deploy[plugin]'` brings both the compiler and TensorRT's headers"

#: The first toolkit that compiles for sm_120, and the driver that a toolkit's runtime needs.
MIN_CUDA = (12, 8)
DRIVERS = {12: 525, 13: 580}
#: IPluginV3 came with it.
MIN_TENSORRT = 10

_HEADER = "NvInferRuntime.h"


@dataclass(frozen=True)
class Toolchain:
    """`lib` is given to the linker where nvcc does not know its own library folder (the wheels)."""

    nvcc: Path
    cuda: tuple[int, int]
    lib: Path | None
    headers: Path
    tensorrt: str

    @property
    def driver(self) -> int:
        """The oldest driver that runs what it compiles."""
        return DRIVERS.get(self.cuda[0], DRIVERS[13])

    def said(self) -> str:
        """What was found, in a sentence."""
        cuda = ".".join(map(str, self.cuda))
        found = f"nvcc {cuda} ({self.nvcc}), headers of TensorRT {self.tensorrt} ({self.headers})"
        return f"{found}; the library needs a driver >= {self.driver}"


def find(include: Path | None = None) -> Toolchain:
    """The first compiler and the first headers that there are.

    Args:
        include: a folder with NvInfer.h, before all others.

    Raises:
        BackendError: one is missing, or too old; says where was looked.
    """
    headers = _headers(include)
    nvcc, lib = compiler()
    if shutil.which("g++") is None:
        raise BackendError("nvcc needs g++, which is not here", "install g++ (up to 15)")
    return Toolchain(nvcc, _cuda(nvcc), lib, headers, _tensorrt(headers))


def _wheels(package: str, *folder: str) -> Iterator[Path]:
    """Folders inside an installed package, without importing it."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place, *folder)


def _compilers() -> Iterator[tuple[Path, Path | None]]:
    """Every nvcc worth asking, with the folder its linker has to be told."""
    if found := shutil.which("nvcc"):
        yield Path(found), None
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(name):
            yield Path(home) / "bin" / "nvcc", None
    for wheel in _wheels("nvidia"):
        for toolkit in sorted(wheel.glob("cu[0-9]*"), reverse=True):
            yield toolkit / "bin" / "nvcc", toolkit / "lib"


def compiler() -> tuple[Path, Path | None]:
    """The first nvcc that there is, and the folder that its linker has to be told (the wheels').

    Raises:
        BackendError: there is none.
    """
    for path, lib in _compilers():
        if path.is_file():
            return path, lib
    raise BackendError("no nvcc: neither on PATH, nor under CUDA_HOME, nor as a wheel", REMEDY)


def _cuda(nvcc: Path) -> tuple[int, int]:
    try:
        said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        raise BackendError(f"{nvcc} does not start: {error.strerror}", REMEDY) from error
    found = re.search(r"release (\d+)\.(\d+)", said)
    if found is None:
        raise BackendError(f"{nvcc} does not say its version", REMEDY)
    version = int(found[1]), int(found[2])
    if version < MIN_CUDA:
        raise BackendError(f"{nvcc} is CUDA {found[1]}.{found[2]}, the plugin needs {MIN_CUDA[0]}.{MIN_CUDA[1]}", REMEDY)
    return version


def _headers(include: Path | None) -> Path:
    if include is not None:
        if not (include / _HEADER).is_file():
            raise BackendError(f"{include} has no {_HEADER}", "name the folder that has NvInfer.h")
        return include
    root = os.environ.get("TENSORRT_ROOT")
    system = (Path("/usr/include/x86_64-linux-gnu"), Path("/usr/include/aarch64-linux-gnu"), Path("/usr/include"))
    places = [*([Path(root) / "include"] if root else []), *system, *_wheels("kernel_lens", "include", "tensorrt")]
    for place in places:
        if (place / _HEADER).is_file():
            return place
    raise BackendError("no TensorRT headers: neither under TENSORRT_ROOT, nor in /usr/include, nor as a wheel", REMEDY)


def _tensorrt(headers: Path) -> str:
    """The version that the headers are of, such as "10.14"."""
    file = headers / "NvInferVersion.h"
    text = file.read_text(errors="replace") if file.is_file() else ""
    numbers = []
    for name in ("MAJOR", "MINOR"):
        found = re.search(rf"#define (?:NV_TENSORRT|TRT)_{name}(?:_ENTERPRISE)? (\d+)", text)
        if found is None:
            raise BackendError(f"{headers} does not say which TensorRT it is of", "name another folder with --tensorrt-include")
        numbers.append(int(found[1]))
    if numbers[0] < MIN_TENSORRT:
        raise BackendError(f"{headers} is of TensorRT {numbers[0]}.{numbers[1]}, the plugin needs {MIN_TENSORRT}", REMEDY)
    return ".".join(map(str, numbers))
