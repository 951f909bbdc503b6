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

import onnx
from numpy.typing import NDArray
from onnx import external_data_helper

from se_deploy.artifacts import Precision, Progress
from se_deploy.backends.base import NOTHING_MORE, Made, Port, Tensors, Wanted
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
    #: A Relu folds into uint8 whose zero point is 0; symmetric int8 is slower than FP32 here.
    signed_int8 = False
    strongly_typed = False

    def missing(self) -> str | None:
        """None where the package is installed."""
        return None if find_spec("onnxruntime") else "onnxruntime is not installed: `pip install onnxruntime`"

    def unable_to_run(self, targets: tuple[str, ...] = ()) -> str | None:
        """What can build can run: it is the CPU."""
        return None

    def check(self, wanted: Wanted, se_blocks: int) -> None:
        """Targets and what is TensorRT's are refused."""
        given = (*wanted.options(), *(["--plugin"] if wanted.plugin not in ("auto", "off") else []))
        if given:
            raise BackendError(f"{', '.join(given)} is for TensorRT, this engine is for ONNX Runtime", "add --backend, or leave it out")

    def build(self, model: Path, out: Path, progress: Progress, wanted: Wanted = NOTHING_MORE) -> Made:
        """The typed file itself is the engine, once ONNX Runtime has taken it."""
        progress("check the model with ONNX Runtime", 0, None)
        with self.open(model):
            pass
        _copy(model, out)
        return Made()

    def open(self, engine: Path, *, threads: int | None = None, optimised: bool = True) -> Session:
        """A session on the CPU."""
        return Session(engine, threads, optimised)

    def versions(self) -> dict[str, str]:
        """ONNX Runtime's."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}

    def device(self) -> str:
        """The CPU's model name."""
        return _cpu("model name") or platform.processor() or platform.machine()


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
            raise BackendError(f"ONNX Runtime refuses the input: {_said(error)}", "give what the engine's manifest names") from error
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
    # Its threads would spin on for up to 80 ms after a run, on the cores of what is measured beside it. Measured alone it costs nothing.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if _saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not engine.is_file():
        raise BackendError(f"no engine {engine}", "run `se-deploy build` first")
    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        return ort.InferenceSession(str(engine), options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise BackendError(f"ONNX Runtime does not take {engine}: {_said(error)}", "check the file with `se-deploy inspect`") from error


def _said(error: Exception) -> str:
    """The library's message on one line, without the numbers it begins with."""
    return " ".join(str(error).split()).rpartition("[ONNXRuntimeError] : ")[2].split(" : ", 2)[-1]


def _copy(model: Path, out: Path) -> None:
    """Copies a model; external weights come along, under a name of the copy's own."""
    proto = onnx.load(model, load_external_data=False)
    if not any(external_data_helper.uses_external_data(tensor) for tensor in proto.graph.initializer):
        shutil.copyfile(model, out)
        return
    external_data_helper.load_external_data_for_model(proto, str(model.parent))
    onnx.save_model(proto, out, save_as_external_data=True, location=f"{out.name}.data")


def _cpu(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")


def _saturates() -> bool:
    """Whether uint8 times int8 sums may saturate in 16 bits: x86 without VNNI. ONNX Runtime has a slower, exact way for those."""
    flags = _cpu("flags")
    return platform.machine() in ("x86_64", "AMD64") and bool(flags) and "vnni" not in flags


def _ports(arguments: list[Any]) -> tuple[Port, ...]:
    return tuple(Port(a.name, TYPES[a.type], tuple("?" if d is None else d for d in a.shape)) for a in arguments)
