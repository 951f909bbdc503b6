"""ONNX Runtime's CPU provider: the embedded default. An engine is an ONNX file, functions kept.

Only the CPU provider is asked for: a GPU is TensorRT's, and asking for CUDA where it does not start fills stderr.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from se_deploy.artifacts import Precision, Progress
from se_deploy.backends.base import Port, Tensors
from se_deploy.errors import BackendError

if TYPE_CHECKING:
    import onnxruntime as ort

#: NumPy's names of the tensor types that a network's inputs and outputs have.
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}

#: Failures come as exceptions with the whole message: what the library logs beside them is noise on stderr.
FATAL = 4


class OnnxRuntime:
    """The backend `onnxruntime`."""

    name = "onnxruntime"
    suffix = ".onnx"
    default_precision: Precision = "fp32"

    def missing(self) -> str | None:
        """None where the package is installed."""
        return None if find_spec("onnxruntime") else "onnxruntime is not installed: `pip install onnxruntime`"

    def build(self, model: Path, out: Path, progress: Progress) -> None:
        """The typed file itself is the engine, once ONNX Runtime has taken it."""
        progress("checking the model with ONNX Runtime", 0, None)
        with self.open(model):
            shutil.copyfile(model, out)

    def open(self, engine: Path, *, threads: int | None = None, optimised: bool = True) -> Session:
        """A session on the CPU."""
        return Session(engine, threads, optimised)

    def device(self) -> str:
        """The CPU's model name."""
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.processor() or platform.machine())


class Session:
    """An opened engine."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, engine: Path, threads: int | None, optimised: bool) -> None:
        self._session: ort.InferenceSession | None = _session(engine, threads, optimised)
        self.inputs = _ports(self._session.get_inputs())
        self.outputs = _ports(self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """Runs one batch.

        Raises:
            BackendError: a feed's shape, type or name is not the network's.
        """
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

        if self._session is None:
            raise ValueError("the session is closed")
        try:
            values = self._session.run(None, dict(feeds))
        except InvalidArgument as error:
            raise BackendError(f"ONNX Runtime refuses the input: {error}", "give what the engine's manifest names") from error
        return {port.name: value for port, value in zip(self.outputs, values, strict=True)}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None


def _session(engine: Path, threads: int | None, optimised: bool) -> ort.InferenceSession:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not engine.is_file():
        raise BackendError(f"no engine {engine}", "run `se-deploy build` first")
    refusals = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented, state.RuntimeException)
    try:
        return ort.InferenceSession(str(engine), options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise BackendError(f"ONNX Runtime does not take {engine}: {error}", "check the file with `se-deploy inspect`") from error


def _ports(arguments: list[Any]) -> tuple[Port, ...]:
    return tuple(Port(a.name, TYPES[a.type], tuple("?" if d is None else d for d in a.shape)) for a in arguments)
