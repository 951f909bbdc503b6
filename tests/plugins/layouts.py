"""TensorRT's tensor layouts and bfloat16 in NumPy: (N, C, HW) to bytes as the device has them, and back."""

from __future__ import annotations

import numpy as np

#: By layout: channels are padded to a multiple of this.
ATOMS = {"linear": 1, "hwc8": 8, "hwc16": 16, "chw32": 32}
LAYOUTS = tuple(ATOMS)
TYPES = ("float32", "float16", "bfloat16", "int8")
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
LEGAL = {
    "float32": ("linear", "hwc8"), "float16": ("linear", "hwc8"), "bfloat16": ("linear", "hwc8"), "int8": ("linear", "hwc16", "chw32"),
}  # fmt: skip


def to_bfloat16(v: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16, to nearest even."""
    bits = np.ascontiguousarray(v, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(v), np.uint16(0x7FFF), rounded)


def stored(v: np.ndarray, dtype: str) -> np.ndarray:
    """Values as the device stores them; bfloat16 as uint16."""
    return to_bfloat16(v) if dtype == "bfloat16" else v.astype(dtype)


def floats(v: np.ndarray, dtype: str) -> np.ndarray:
    """Stored values as float32."""
    return (v.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else v.astype(np.float32)


def pack(v: np.ndarray, layout: str, padding: object) -> np.ndarray:
    """(N, C, HW) into a layout's order, the padded channels filled with `padding`."""
    n, c, hw = v.shape
    atom = ATOMS[layout]
    groups = -(-c // atom)
    padded = np.full((n, groups * atom, hw), padding, v.dtype)
    padded[:, :c] = v
    if layout == "linear":
        return padded
    if layout == "chw32":
        return np.ascontiguousarray(padded.reshape(n, groups, 32, hw).transpose(0, 1, 3, 2))
    return np.ascontiguousarray(padded.transpose(0, 2, 1))


def unpack(flat: np.ndarray, layout: str, n: int, c: int, hw: int) -> tuple[np.ndarray, np.ndarray]:
    """A layout's bytes as (N, C, HW), and what stood in the padded channels."""
    groups = -(-c // ATOMS[layout])
    if layout == "linear":
        all_channels = flat.reshape(n, c, hw)
    elif layout == "chw32":
        all_channels = flat.reshape(n, groups, hw, 32).transpose(0, 1, 3, 2).reshape(n, groups * 32, hw)
    else:
        all_channels = flat.reshape(n, hw, groups * ATOMS[layout]).transpose(0, 2, 1)
    return all_channels[:, :c], all_channels[:, c:]
