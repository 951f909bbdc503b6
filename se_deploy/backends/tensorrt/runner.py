"""An engine on a GPU: deserialised with its plugin, fed from host memory, timed with the device's own clock, replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from se_deploy.backends.base import Port, Tensors
from se_deploy.backends.tensorrt import gpu, loading
from se_deploy.backends.tensorrt.flavours import Flavour
from se_deploy.errors import BackendError

#: How a size outside of the profile is refused.
_PROFILE = "build it with other --shapes"


@dataclass
class Buffers:
    """One set of device tensors of fixed shapes, and with it what runs on them: an execution context's, on a stream."""

    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    graph: torch.cuda.CUDAGraph | None = None


class Session:
    """An opened engine with one context on one stream. Not for two threads at once: open it twice."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, engine: Path, flavour: Flavour, *, graph: bool = False, opened: Any = None) -> None:
        """`graph`: every shape is captured at its first run, and replayed after that. `opened`: the engine, where it is open already."""
        self._trt: Any = import_module(flavour.module)
        self._path, self._flavour = engine, flavour
        self._engine: Any = opened if opened is not None else loading.engine(engine, flavour)
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"{engine} gets no execution context", "is there enough GPU memory?")
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph = graph
        self._kept: dict[tuple[tuple[int, ...], ...], Buffers] = {}
        ports = [self._port(self._engine.get_tensor_name(i)) for i in range(self._engine.num_io_tensors)]
        self.inputs, self.outputs = (
            tuple(port for port in ports if self._engine.get_tensor_mode(port.name) == mode)
            for mode in (self._trt.TensorIOMode.INPUT, self._trt.TensorIOMode.OUTPUT)
        )

    def _port(self, name: str) -> Port:
        shape = tuple("?" if size < 0 else int(size) for size in self._engine.get_tensor_shape(name))
        return Port(name, np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).name, shape)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """One batch, host memory to host memory.

        Raises:
            BackendError: a feed is missing, or its type or size is not the engine's.
        """
        buffers = self._ready(feeds)
        with torch.cuda.stream(self._stream):
            self._copy_in(buffers, feeds)
            self._execute(buffers)
            made = {name: tensor.to("cpu", non_blocking=True) for name, tensor in buffers.outputs.items()}
        self._stream.synchronize()
        return {name: tensor.numpy() for name, tensor in made.items()}

    def device_times(self, feeds: Mapping[str, NDArray[Any]], count: int) -> list[float]:
        """Milliseconds on the device of `count` runs in a row, copies left out: CUDA events around each."""
        buffers = self._ready(feeds)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            self._copy_in(buffers, feeds)
            self._execute(buffers)
            events[0].record(self._stream)
            for event in events[1:]:
                self._execute(buffers)
                event.record(self._stream)
        self._stream.synchronize()
        return [before.elapsed_time(after) for before, after in zip(events, events[1:], strict=False)]

    def twin(self, *, graph: bool = False) -> Session:
        """Another context of the same engine, on a stream of its own."""
        return Session(self._path, self._flavour, graph=graph, opened=self._engine)

    def clocks(self) -> dict[str, float]:
        """The GPU's clocks, temperature and power, from nvidia-smi."""
        return gpu.clocks()

    def start(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Enqueues one run on this session's stream and returns; `wait` ends it."""
        self._execute(self._ready(feeds))

    def wait(self) -> None:
        """Returns when everything started here is done."""
        self._stream.synchronize()

    def _ready(self, feeds: Mapping[str, NDArray[Any]]) -> Buffers:
        """Buffers of these shapes, the context set to them."""
        shapes = tuple(self._checked(port, feeds).shape for port in self.inputs)
        for port, shape in zip(self.inputs, shapes, strict=True):
            if not self._context.set_input_shape(port.name, shape):
                raise BackendError(f"TensorRT does not take {port.name} as {list(shape)}", _PROFILE)
        if shapes not in self._kept:
            self._kept[shapes] = self._allocated(shapes)
        buffers = self._kept[shapes]
        for name, tensor in (buffers.inputs | buffers.outputs).items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        return buffers

    def _checked(self, port: Port, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if port.name not in feeds:
            raise BackendError(f"the engine's input {port.name} is not given", "give what the engine's manifest names")
        given = feeds[port.name]
        if given.dtype.name != port.dtype:
            raise BackendError(f"{port.name} is {given.dtype.name}, the engine takes {port.dtype}", "give what the engine's manifest names")
        low, _, high = self._engine.get_tensor_profile_shape(port.name, 0)
        fits = len(low) == given.ndim and all(a <= size <= b for a, size, b in zip(low, given.shape, high, strict=True))
        if not fits:
            raise BackendError(f"{port.name} is {list(given.shape)}, the engine takes {list(low)} to {list(high)}", _PROFILE)
        return given

    def _allocated(self, shapes: tuple[tuple[int, ...], ...]) -> Buffers:
        sizes = dict(zip((port.name for port in self.inputs), shapes, strict=True))
        sizes |= {port.name: tuple(self._context.get_tensor_shape(port.name)) for port in self.outputs}

        def made(ports: tuple[Port, ...]) -> dict[str, torch.Tensor]:
            return {port.name: torch.empty(sizes[port.name], dtype=getattr(torch, port.dtype), device="cuda") for port in ports}

        return Buffers(made(self.inputs), made(self.outputs))

    def _copy_in(self, buffers: Buffers, feeds: Mapping[str, NDArray[Any]]) -> None:
        for name, tensor in buffers.inputs.items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(feeds[name])), non_blocking=True)

    def _execute(self, buffers: Buffers) -> None:
        """Enqueues the network; the first time with a graph, captures it."""
        if not self._graph:
            self._enqueue()
            return
        if buffers.graph is None:
            self._enqueue()  # TensorRT wants one run of a shape before it is captured
            self._stream.synchronize()
            buffers.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(buffers.graph, stream=self._stream):
                self._enqueue()
        with torch.cuda.stream(self._stream):
            buffers.graph.replay()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise BackendError("TensorRT could not run the engine", "look at what it says on stderr")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()
        self._context = self._engine = None
