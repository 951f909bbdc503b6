"""The GPUs of this machine, asked of the driver's library: no toolkit, no torch, and no error where there is none."""

from __future__ import annotations

import ctypes
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
