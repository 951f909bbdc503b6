"""Runs a fused graph over images on the function bodies, so on any CPU, and watches the tensors that get a scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from se_deploy.quant.channels import Channels
from se_deploy.quant.observe import Observer

Feeds = Mapping[str, NDArray[Any]]

#: What ONNX Runtime logs beside its exceptions is noise on stderr.
FATAL = 4


def observe(model: Path, tensors: Sequence[str], batches: Iterable[Feeds], *, threads: int | None = None) -> dict[str, Observer]:
    """What was seen of each tensor over all batches. One batch is alive at a time, whatever their number.

    Args:
        model: a fused FP32 ONNX file; weights may be external.
        tensors: names of FP32 tensors of its graph: inputs, or what nodes give.
        batches: feeds by input name; taken one by one.
        threads: None leaves the number to ONNX Runtime.
    """
    watch = Watch(model, tensors, threads)
    seen = {name: Observer() for name in tensors}
    for feeds in batches:
        watch.count(watch.run(feeds), seen, feeds)
    return seen


class Watch:
    """A session that gives the tensors to be measured beside the network's outputs. With one thread the same batch gives the same bits."""

    def __init__(self, model: Path, tensors: Sequence[str], threads: int | None = None) -> None:
        self.session = _session(_watching(model, tensors), model.parent, threads)
        self.binding = self.session.io_binding()
        self.inputs = {port.name for port in self.session.get_inputs()} & set(tensors)
        self.inner = [name for name in tensors if name not in self.inputs]

    def count(
        self,
        given: Sequence[ort.OrtValue],
        seen: Mapping[str, Observer],
        feeds: Feeds,
        missing: int = 0,
        channels: Mapping[str, Channels] = MappingProxyType({}),
    ) -> None:
        """Adds what the tensors of a batch hold to `seen`, and by channel to `channels` where they are there; `given` is from `run`.

        The last `missing` rows only fill a fixed batch and do not count.
        """
        for name in self.inputs:
            seen[name].update(_rows(feeds[name], feeds[name].shape[0], missing))
        batch = next(iter(feeds.values())).shape[0]
        for name, values in zip(self.inner, given, strict=True):
            rows = _rows(values.numpy(), batch, missing)
            seen[name].update(rows, channels[name].update(rows) if name in channels else None)

    def run(self, feeds: Feeds) -> list[ort.OrtValue]:
        """The inner tensors of one batch, left in the session's memory: `session.run` copies all of them at once, these one by one."""
        if not (self.inner and feeds):
            return []
        for name in self.inner:  # anew, which lets go of the last batch's
            self.binding.bind_output(name)
        for name, values in feeds.items():
            self.binding.bind_cpu_input(name, np.ascontiguousarray(values))
        self.session.run_with_iobinding(self.binding)
        given: list[ort.OrtValue] = self.binding.get_outputs()
        return given


def _rows(values: NDArray[Any], batch: int, missing: int) -> NDArray[Any]:
    """Without the rows that fill the batch; a tensor that does not hold a row per image stays whole."""
    return values[: batch - missing] if missing and values.ndim and values.shape[0] == batch else values


def _watching(model: Path, tensors: Sequence[str]) -> bytes:
    """The model with `tensors` as outputs too, serialised; its weights are in memory once, as the session's."""
    proto = onnx.load(model, load_external_data=False)
    have = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    extra = (name for name in tensors if name not in have)
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in extra)
    content: bytes = proto.SerializeToString()
    return content


def _session(model: bytes, folder: Path, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if threads is not None:
        options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
