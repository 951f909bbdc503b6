"""One file per engine: each says what it can do here, builds, and runs; a new one is one file."""

from __future__ import annotations

from se_deploy.backends.base import Backend, Made, OnDevice, Port, Runner, Wanted
from se_deploy.errors import BackendError

__all__ = ["NAMES", "Backend", "Made", "OnDevice", "Port", "Runner", "Wanted", "auto", "get"]

#: Every name that `--backend` knows, in the order in which `auto` would take them (openvino only when asked).
NAMES = ("tensorrt", "tensorrt-rtx", "onnxruntime", "openvino")


def get(name: str) -> Backend:
    """The backend of that name, whether or not it works here (ask its `missing()`).

    Raises:
        BackendError: no backend is called so.
    """
    if name == "onnxruntime":
        from se_deploy.backends.onnxruntime import OnnxRuntime

        return OnnxRuntime()
    if name in ("tensorrt", "tensorrt-rtx"):
        from se_deploy.backends.tensorrt import RTX, STANDARD, TensorRT

        return TensorRT(RTX if name == "tensorrt-rtx" else STANDARD)
    if name == "openvino":
        from se_deploy.backends.openvino import OpenVino

        return OpenVino()
    raise BackendError(f"no backend is called {name!r}", f"take auto or one of {', '.join(NAMES)}")


def auto() -> Backend:
    """The first backend that builds and runs here: those for a GPU before ONNX Runtime.

    Raises:
        BackendError: none does; says what the last one misses.
    """
    missing = None
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime"):
        backend = get(name)
        missing = backend.missing() or backend.unable_to_run()
        if missing is None:
            return backend
    raise BackendError("no backend works here", missing or "install onnxruntime")
