"""What holds for every backend that runs on a CPU."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from se_deploy import backends
from se_deploy.artifacts import silent
from se_deploy.backends import Backend
from tests.quant import small

CLOSED = {"onnxruntime": "the session is closed", "openvino": "the engine is closed"}


@pytest.fixture(params=CLOSED)
def backend(request: pytest.FixtureRequest) -> Backend:
    return backends.get(request.param)


def built(backend: Backend, model: ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    backend.build(folder / "model.onnx", folder / "engine.onnx", silent)
    return folder / "engine.onnx"


def test_a_closed_runner_does_not_run(backend: Backend, tmp_path: Path) -> None:
    with backend.open(built(backend, small.network(), tmp_path)) as runner:
        pass
    with pytest.raises(ValueError, match=CLOSED[backend.name]):
        runner.run({"x": small.images(1)})


def test_dimensions_without_a_name(backend: Backend, tmp_path: Path) -> None:
    model = small.network()
    model.graph.output[0].type.tensor_type.shape.dim[0].Clear()
    with backend.open(built(backend, model, tmp_path)) as runner:
        assert runner.outputs[0].shape == ("?", small.CLASSES)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64, TensorProto.BOOL])
def test_types_have_numpys_names(backend: Backend, kind: int, tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, kind, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    with backend.open(built(backend, model, tmp_path)) as runner:
        assert runner.inputs[0].dtype == dtype.name
        assert runner.run({"x": np.ones(2, dtype)})["y"].dtype == dtype
