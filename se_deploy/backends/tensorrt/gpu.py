"""The GPUs of this machine, asked of the driver's library: no toolkit, no torch, and no error where there is none."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

#: CUdevice_attribute's numbers.
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """`target` is its compute capability as `--target` has it, such as "sm_89"."""

    name: str
    target: str


@cache
def first() -> Gpu | None:
    """The GPU that engines run on here; None where there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, count = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1 or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    name = ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    return Gpu(name.value.decode(errors="replace"), f"sm_{major.value}{minor.value}")


#: What nvidia-smi is asked -> what it is called here.
_QUERIES = {
    "clocks.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "clocks.max.sm": "sm_max_mhz",
    "temperature.gpu": "temperature_c",
    "power.draw": "power_w",
}


def clocks() -> dict[str, float]:
    """Clocks, temperature and power of the first GPU just now; what the driver does not tell is left out."""
    if shutil.which("nvidia-smi") is None:
        return {}
    words = ["nvidia-smi", "-i", "0", f"--query-gpu={','.join(_QUERIES)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return parsed_clocks(done.stdout)


def parsed_clocks(line: str) -> dict[str, float]:
    """nvidia-smi's answer, such as "1980, 2619, 1980, 34, 71.52"; "[N/A]" and the like are left out."""
    found = {}
    for name, text in zip(_QUERIES.values(), line.split(","), strict=False):
        try:
            found[name] = float(text)
        except ValueError:
            continue
    return found
