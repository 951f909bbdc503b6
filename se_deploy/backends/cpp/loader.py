"""An engine opened by the C++ loader, through its C interface (plugins/runtime/c_api.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import InputSpec, OutputSpec
from se_deploy.backends.base import Port, Tensors
from se_deploy.errors import BackendError

#: The types by their numbers in c_api.h.
TYPES = ("float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool")
_ROOM = 1024
_MAX_RANK = 8


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * _MAX_RANK),
        ("data", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        ("onnxruntime", ctypes.c_char_p),
        ("tensorrt", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("device", ctypes.c_int32),
    )


class Loaded:
    """A runner like any backend's; what it runs is the C++ program that is deployed."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(
        self,
        library: Path,
        engine: Path,
        inputs: Sequence[InputSpec],
        outputs: Sequence[OutputSpec],
        *,
        backend: str = "onnxruntime",
        threads: int | None = None,
    ) -> None:
        """Opens an engine that lies beside its manifest; `backend` chooses whose library is looked for among the installed wheels.

        Raises:
            BackendError: what the loader says of it.
        """
        self.inputs = tuple(Port(spec.name, spec.dtype, spec.shape) for spec in inputs)
        self.outputs = tuple(Port(spec.name, spec.dtype, spec.shape) for spec in outputs)
        self._api = _declared(ctypes.CDLL(str(library)))
        error = ctypes.create_string_buffer(_ROOM)
        named = installed(backend)
        word = "onnxruntime" if backend == "onnxruntime" else "tensorrt"
        options = _Options(threads=threads or 0, **({word: str(named).encode()} if named else {}))
        self._engine = self._api.se_open(str(engine).encode(), ctypes.byref(options), error, _ROOM)
        if not self._engine:
            raise BackendError(*_said(error))
        if self._api.se_outputs(self._engine) != len(self.outputs):
            self.close()
            raise BackendError(f"{engine} has other outputs than are asked for", "read them from the manifest beside it")

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """One batch, by input name, to every output, by name.

        Raises:
            BackendError: a feed is not as the manifest says, or the engine fails.
        """
        if not self._engine:
            raise ValueError("the engine is closed")
        held = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        inputs = (_Tensor * len(held))(*(_tensor(name, array) for name, array in held.items()))
        outputs = (_Tensor * len(self.outputs))()
        error = ctypes.create_string_buffer(_ROOM)
        if self._api.se_run(self._engine, inputs, len(held), outputs, error, _ROOM):
            raise BackendError(*_said(error))
        return {tensor.name.decode(): _array(tensor) for tensor in outputs}

    def preprocess(self, pixels: NDArray[np.uint8], orientation: int = 1) -> NDArray[np.float32]:
        """A decoded image, uint8 (height, width) or (height, width, 3), as the manifest wants it: float32 (channels, height, width).

        Raises:
            BackendError: it is no such image.
        """
        pixels = np.ascontiguousarray(pixels)
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        values = np.empty(_CAPACITY, np.float32)
        shape = (ctypes.c_int32 * 3)()
        error = ctypes.create_string_buffer(_ROOM)
        failed = self._api.se_preprocess(
            self._engine,
            pixels.ctypes.data_as(ctypes.c_void_p),
            pixels.shape[1],
            pixels.shape[0],
            channels,
            orientation,
            values.ctypes.data_as(ctypes.c_void_p),
            values.size,
            shape,
            error,
            _ROOM,
        )
        if failed:
            raise BackendError(*_said(error))
        return values[: shape[0] * shape[1] * shape[2]].reshape(tuple(shape)).copy()

    def close(self) -> None:
        """Frees the engine."""
        if self._engine:
            self._api.se_close(self._engine)
            self._engine = None

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: Values that a prepared image may have: 3 channels of 4096 x 4096.
_CAPACITY = 3 * 4096 * 4096


#: A backend -> the package of the wheel that brings its library, and the library's name there.
_WHEELS = {
    "onnxruntime": ("onnxruntime", "capi/libonnxruntime.so.*"),
    "tensorrt": ("tensorrt_libs", "libnvinfer.so.*"),
    "tensorrt-rtx": ("tensorrt_rtx_libs", "libtensorrt_rtx.so.*"),
}


def installed(backend: str) -> Path | None:
    """The backend's shared library inside an installed wheel; None where the loader must find one itself."""
    if backend not in _WHEELS:  # what the loader does not have it refuses itself, and says so
        return None
    package, pattern = _WHEELS[backend]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return next((path for folder in folders for path in sorted(Path(folder).glob(pattern))), None)


def _declared(api: Any) -> Any:
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    int32 = ctypes.c_int32
    api.se_open.argtypes, api.se_open.restype = [text, pointer, text, size], pointer
    api.se_close.argtypes, api.se_close.restype = [pointer], None
    api.se_outputs.argtypes, api.se_outputs.restype = [pointer], size
    api.se_run.argtypes, api.se_run.restype = [pointer, pointer, size, pointer, text, size], ctypes.c_int
    api.se_preprocess.argtypes = [pointer, pointer, int32, int32, int32, int32, pointer, size, pointer, text, size]
    api.se_preprocess.restype = ctypes.c_int
    return api


def _said(error: ctypes.Array[ctypes.c_char]) -> tuple[str, str]:
    """The loader's line as message and hint."""
    message, _, hint = error.value.decode(errors="replace").rpartition("; ")
    return (message, hint) if message else (hint, "")


def _tensor(name: str, array: NDArray[Any]) -> _Tensor:
    if array.dtype.name not in TYPES or array.ndim > _MAX_RANK:
        raise BackendError(f"input {name} is {array.dtype} of {array.ndim} dimensions", f"the loader takes {', '.join(TYPES)}")
    shape = (ctypes.c_int64 * _MAX_RANK)(*array.shape)
    return _Tensor(name.encode(), TYPES.index(array.dtype.name), array.ndim, shape, array.ctypes.data)


def _array(tensor: _Tensor) -> NDArray[Any]:
    """A copy of an output, which is the engine's own only until the next run."""
    shape = tuple(tensor.shape[: tensor.rank])
    made = np.empty(shape, TYPES[tensor.type])
    ctypes.memmove(made.ctypes.data, tensor.data, made.nbytes)
    return made
