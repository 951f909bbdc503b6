"""An engine that answers with its own input: what it gives back is what the loader's preprocessing made."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from se_deploy.artifacts import InputSpec, OutputSpec, Preprocess
from tests.stages import exports

SIDE = 4096


def engine(folder: Path, how: Preprocess, *, batch: int = 4) -> Path:
    """engine.onnx and its manifest in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = 1 if how.color == "L" else 3
    shape = ["N", channels, "H", "W"]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", ports[:1], ports[1:])
    path = folder / "engine.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    spec = InputSpec(
        name="x", dtype="float32", shape=tuple(shape), min=(1, channels, 1, 1), opt=(1, channels, 8, 8), max=(batch, channels, SIDE, SIDE)
    )
    outputs = (OutputSpec(name="y", dtype="float32", shape=tuple(shape)),)
    return exports.described(path, "identity", (spec,), outputs, how)
