"""Runs a fused graph over images on the function bodies, so on any CPU, and watches the tensors that get a scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

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
    session = _session(_watching(model, tensors), model.parent, threads)
    inputs = {port.name for port in session.get_inputs()}
    inner = [name for name in tensors if name not in inputs]
    seen = {name: Observer() for name in tensors}
    for feeds in batches:
        for name in inputs & seen.keys():
            seen[name].update(feeds[name])
        if inner:
            for name, values in zip(inner, session.run(inner, dict(feeds)), strict=True):
                seen[name].update(np.asarray(values))
    return seen


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
