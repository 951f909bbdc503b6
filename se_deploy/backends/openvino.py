"""OpenVINO on the CPU: the fastest INT8 there. An engine is an ONNX file with functions written out, which OpenVINO does not know.

INT8 takes the placement of TensorRT: signed and symmetric, pairs on the inputs of convolutions, SE blocks in float.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, external_data_helper, helper, inliner

from se_deploy.artifacts import Precision, Progress
from se_deploy.backends.base import NOTHING_MORE, Made, Port, Tensors, Wanted
from se_deploy.errors import BackendError

if TYPE_CHECKING:
    import openvino

#: The shapes of a batch's inputs, in the network's order.
Shapes = tuple[tuple[int, ...], ...]

#: Shapes for which an opened engine stays compiled, each with weights of its own.
MOST_SHAPES = 4


class OpenVino:
    """The backend `openvino`."""

    name = "openvino"
    suffix = ".onnx"
    default_precision: Precision = "fp32"
    signed_int8 = True
    strongly_typed = False

    def missing(self) -> str | None:
        """None where the package is installed."""
        return None if find_spec("openvino") else "openvino is not installed: `pip install 'se-deploy[openvino]'`"

    def unable_to_run(self, targets: tuple[str, ...] = ()) -> str | None:
        """What can build can run: it is the CPU."""
        return None

    def check(self, wanted: Wanted, se_blocks: int) -> None:
        """Targets and what is TensorRT's are refused."""
        given = (*wanted.options(), *(["--plugin"] if wanted.plugin not in ("auto", "off") else []))
        if given:
            raise BackendError(
                f"{', '.join(given)} is for TensorRT, this engine is for OpenVINO", "leave it out, or take another --backend"
            )

    def build(self, model: Path, out: Path, progress: Progress, wanted: Wanted = NOTHING_MORE) -> Made:
        """The typed file with its functions written out, once OpenVINO has compiled it."""
        progress("compile the model with OpenVINO", 0, None)
        try:
            _inlined(model, out)
            compiled(read(out), out, None)
        except BackendError as error:
            for file in (out, _weights_of(out)):
                file.unlink(missing_ok=True)
            said = error.message.replace(str(out), str(model)).replace(str(model), str(wanted.about or model))
            raise BackendError(said, error.hint) from error
        return Made()

    def open(self, engine: Path, *, threads: int | None = None, optimised: bool = True) -> Requests:
        """Requests on the CPU. `optimised` changes nothing: OpenVINO's fusions cannot be turned off, and FP32 is always FP32 here."""
        return Requests(engine, threads)

    def versions(self) -> dict[str, str]:
        """OpenVINO's."""
        import openvino

        return {"openvino": openvino.__version__.partition("-")[0]}

    def device(self) -> str:
        """The CPU's model name."""
        import openvino

        return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))


class Requests:
    """An opened engine. It is compiled for each shape that comes: left dynamic, INT8 takes up to 1.7 times as long (seresnet50, 1.4)."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, engine: Path, threads: int | None) -> None:
        graph = _parsed(engine).graph  # OpenVINO keeps no names of dynamic dimensions
        weights = {tensor.name for tensor in graph.initializer}
        self.inputs = tuple(_port(value) for value in graph.input if value.name not in weights)
        self.outputs = tuple(_port(value) for value in graph.output)
        self._engine, self._threads = engine, threads
        self._model: openvino.Model | None = read(engine)
        #: By the inputs' shapes, the one that was used last at the end.
        self._requests: dict[Shapes, openvino.InferRequest] = {}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """Runs one batch; the first of its shape is compiled first.

        Raises:
            BackendError: a feed's shape, type or name is not the network's.
        """
        if self._model is None:
            raise ValueError("the engine is closed")
        if unfit := _unfit(self.inputs, feeds):
            raise BackendError(f"OpenVINO refuses the input: {unfit}", "give what the engine's manifest names")
        request = self._request(self._model, tuple(feeds[port.name].shape for port in self.inputs))
        values = request.infer({number: feeds[port.name] for number, port in enumerate(self.inputs)})
        return {port.name: values[number] for number, port in enumerate(self.outputs)}

    def _request(self, model: openvino.Model, shapes: Shapes) -> openvino.InferRequest:
        request = self._requests.pop(shapes, None)
        if request is None:
            fixed = model.clone()
            try:
                fixed.reshape({number: list(shape) for number, shape in enumerate(shapes)})
            except RuntimeError as error:
                raise BackendError(f"OpenVINO refuses the input: {_said(error)}", "give what the engine's manifest names") from error
            if len(self._requests) == MOST_SHAPES:
                del self._requests[next(iter(self._requests))]
            request = compiled(fixed, self._engine, self._threads).create_infer_request()
        self._requests[shapes] = request
        return request

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None
        self._requests.clear()


def _inlined(model: Path, out: Path) -> None:
    """Writes the model with functions written out; external weights come along, under a name of the copy's own."""
    proto = _parsed(model)
    external = any(external_data_helper.uses_external_data(tensor) for tensor in proto.graph.initializer)
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    if external:
        external_data_helper.load_external_data_for_model(proto, str(model.parent))
    onnx.save_model(proto, out, save_as_external_data=external, location=_weights_of(out).name)


def _weights_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.data")


def _parsed(engine: Path) -> ModelProto:
    """The file, weights beside it left there."""
    if not engine.is_file():
        raise BackendError(f"no engine {engine}", "run `se-deploy build` first")
    try:
        proto = onnx.load(engine, load_external_data=False)
    except DecodeError as error:
        raise BackendError(f"OpenVINO does not take {engine}: it is no ONNX file", "check the file with `se-deploy inspect`") from error
    if not proto.graph.output:
        raise BackendError(f"OpenVINO does not take {engine}: it holds no network", "check the file with `se-deploy inspect`")
    return proto


def read(engine: Path) -> openvino.Model:
    """OpenVINO's own form of the file."""
    import openvino

    try:
        return openvino.Core().read_model(engine)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO does not take {engine}: {_said(error)}", "check the file with `se-deploy inspect`") from error


def compiled(model: openvino.Model, engine: Path, threads: int | None) -> openvino.CompiledModel:
    """The model for the CPU, latency before throughput; `engine` is what messages call it."""
    import openvino

    # Left alone it computes FP32 in BF16 where the CPU has that, and pins threads to the cores that other processes' are pinned to.
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        return openvino.Core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO does not take {engine}: {_said(error)}", "check the file with `se-deploy inspect`") from error


def _said(error: Exception) -> str:
    """The library's message on one line, without the places in its sources."""
    said = re.sub(r"(Exception from|Check '[^']*' failed at) \S+:\d+:", "", str(error))
    return " ".join(said.split())[:400]


def _port(value: ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    sizes = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim)
    return Port(value.name, helper.tensor_dtype_to_np_dtype(kind.elem_type).name, sizes)


def _unfit(ports: tuple[Port, ...], feeds: Mapping[str, NDArray[Any]]) -> str | None:
    """Why these are not the network's inputs; OpenVINO itself would convert another type and say nothing."""
    if (names := [port.name for port in ports]) != sorted(feeds, key=lambda name: names.index(name) if name in names else len(names)):
        return f"it takes {', '.join(names)}, given are {', '.join(feeds) or 'none'}"
    for port in ports:
        given = np.asarray(feeds[port.name])
        if given.dtype.name != port.dtype:
            return f"{port.name} is {given.dtype.name}, the network takes {port.dtype}"
        sizes = zip(port.shape, given.shape, strict=False)
        if len(given.shape) != len(port.shape) or any(isinstance(size, int) and size != got for size, got in sizes):
            return f"{port.name} is {list(given.shape)}, the network takes {list(port.shape)}"
    return None
