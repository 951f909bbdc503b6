"""The kernels as a shared library, called by ctypes with PyTorch's memory and stream."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

from se_deploy import op
from se_deploy.backends.plugin import toolchain

SOURCES = Path(__file__).parents[2] / "plugins" / "kernels"
TYPES = ("float32", "float16", "bfloat16", "int8")


class Node(ctypes.Structure):
    """bridge.cu's Node."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("type", "layout", "act", "gate", "skip", "epilogue")),
        *((name, ctypes.c_float) for name in ("alpha", "beta", "leak", "x_scale", "residual_scale", "y_scale")),
        *((name, ctypes.c_int64) for name in ("n", "c", "r", "hw")),
    )


class Tensors(ctypes.Structure):
    """squeeze_excite.h's Tensors."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("x", "residual", "w1", "b1", "w2", "b2", "slope", "y"))


def build(folder: Path, sm: int) -> ctypes.CDLL:
    """Compiles the kernels and the bridge for one architecture and loads them.

    Raises:
        BackendError: there is no nvcc.
    """
    library = folder / "libse_bridge.so"
    nvcc, needed = toolchain.compiler()
    libraries = [f"-L{needed}"] if needed else []
    sources = [*map(str, sorted(SOURCES.glob("*.cu"))), str(Path(__file__).with_name("bridge.cu"))]
    flags = ["-std=c++17", "-O3", f"-arch=sm_{sm}", "-shared", "-Xcompiler", "-fPIC,-fvisibility=hidden", "-cudart", "static"]
    subprocess.run([str(nvcc), *flags, f"-I{SOURCES}", *libraries, *sources, "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.bridgeWorkspace.restype = ctypes.c_int64
    return loaded


def node_of(variant: op.Variant, dtype: str, n: int, c: int, r: int, hw: int, attributes: dict[str, float]) -> Node:
    """A node in linear layout."""
    node = Node(TYPES.index(dtype), 0, op.ACTS.index(variant.act), op.GATES.index(variant.gate), op.SKIPS.index(variant.skip),
                op.EPILOGUES.index(variant.epilogue), n=n, c=c, r=r, hw=hw)  # fmt: skip
    for name, value in attributes.items():
        setattr(node, name, value)
    return node


def launch(library: ctypes.CDLL, node: Node, tensors: dict[str, Any], workspace: Any) -> None:
    """Enqueues the node on PyTorch's current stream; PyTorch tensors by name, y among them.

    Raises:
        RuntimeError: the launch returned an error.
    """
    import torch

    stream = torch.cuda.current_stream().cuda_stream
    pointers = Tensors(**{name: tensor.data_ptr() for name, tensor in tensors.items()})
    size = workspace.numel() * workspace.element_size()
    code = library.bridgeLaunch(
        ctypes.byref(node), ctypes.byref(pointers), ctypes.c_void_p(workspace.data_ptr()), ctypes.c_int64(size), ctypes.c_void_p(stream)
    )
    if code != 0:
        raise RuntimeError(f"CUDA error {code}")
