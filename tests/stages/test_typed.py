"""The typed file of ONNX Runtime's INT8: SE blocks in the order of the integer convolutions around them, where that is known to fit."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import backends, op
from se_deploy.artifacts import Preprocess, Scales, TensorScale
from se_deploy.stages.steps.typed import with_types
from tests.quant import small
from tests.quant.running import kernels, run, sqnr
from tests.quant.test_place import measured


@pytest.fixture(scope="module")
def scales() -> dict[str, TensorScale]:
    return measured(small.network(), small.images(64))


def int8(scales: dict[str, TensorScale], model: ModelProto | None = None) -> ModelProto:
    table = Scales(graph="0" * 64, preprocess=Preprocess(), images=1, images_sha256="0" * 64, method="minmax", tensors=scales)
    made = with_types(model or small.network(), "int8", backends.get("onnxruntime"), scales=table, plugin=False, notes=[], floats=())
    onnx.checker.check_model(made, full_check=True)
    return made


def pools(model: ModelProto) -> set[str]:
    return {node.op_type for function in model.functions for node in function.node} & {"GlobalAveragePool", "ReduceMean"}


def test_se_blocks_ask_for_fewer_transposes_and_answer_the_same(scales: dict[str, TensorScale], tmp_path: Path) -> None:
    fast, plain = int8(scales), int8(scales)
    op.declare(plain)
    assert (pools(fast), pools(plain)) == ({"ReduceMean", "GlobalAveragePool"}, {"GlobalAveragePool"})
    x = small.images(16, seed=3)
    for optimised in (False, True):
        got, want = (run(model, x, optimised=optimised)[0] for model in (fast, plain))
        assert np.abs(got - want).max() < 0.02 * np.ptp(want)
    ran = [kernels(model, tmp_path) for model in (fast, plain)]
    assert [r.count("QLinearConv") for r in ran] == [5, 5]
    assert [r.count("Transpose") for r in ran] == [4, 8]


def on_maps(*spatial: int) -> ModelProto:
    """x (N, 3, *spatial) - Conv - SiLU - SqueezeExcite - Conv - Conv = y, kernels 3 wide where the map is."""
    rng = np.random.default_rng(0)
    kernel = [min(side, 3) for side in spatial]
    sizes = {"a": (small.C, 3, *kernel), "w1": (4, small.C), "b1": (4,), "w2": (small.C, 4), "b2": (small.C,)}
    sizes |= {"b": (small.C, small.C, *kernel), "c": (2, small.C, *kernel)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["first"], "first"),
        helper.make_node("Sigmoid", ["first"], ["sigmoid"], "sigmoid"),
        helper.make_node("Mul", ["first", "sigmoid"], ["silu"], "mul"),
        op.make_node(op.Variant("relu", "sigmoid", "none", "none"), ["silu", "w1", "b1", "w2", "b2"], "se", "se"),
        helper.make_node("Conv", ["se", "b"], ["between"], "second"),
        helper.make_node("Conv", ["between", "c"], ["y"], "third"),
    ]
    weights = [numpy_helper.from_array(0.3 * rng.standard_normal(size).astype(np.float32), name) for name, size in sizes.items()]
    smaller = [side - 3 * (width - 1) for side, width in zip(spatial, kernel, strict=True)]
    shapes = (("x", (3, *spatial)), ("y", (2, *smaller)))
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *size]) for name, size in shapes)
    graph = helper.make_graph(nodes, "maps", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    op.declare(model)
    return model


def test_rows_of_a_batch_are_scaled_as_they_are_alone(tmp_path: Path) -> None:
    x = 1 + np.random.default_rng(1).standard_normal((8, 3, 64, 64), np.float32)
    made = int8(measured(on_maps(64, 64), x), on_maps(64, 64))
    assert "ReduceMean" in pools(made)
    kernels(made, tmp_path)
    optimised = onnx.load(tmp_path / "optimised.onnx")
    (scaled,) = (node.output[0] for node in optimised.graph.node if node.op_type == "Mul")
    optimised.graph.output.append(helper.make_empty_tensor_value_info(scaled))
    together = run(optimised, x)[1]
    alone = np.concatenate([run(optimised, row[None])[1] for row in x])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("spatial", [(32,), (1, 32)])
def test_maps_of_one_dimension_or_of_height_1_keep_the_body_of_every_rank(spatial: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal((8, 3, *spatial)).astype(np.float32)
    made = int8(measured(on_maps(*spatial), x), on_maps(*spatial))
    assert pools(made) == {"GlobalAveragePool"}
    assert sqnr(run(on_maps(*spatial), x)[0], run(made, x)[0]) > 25


def test_maps_of_unknown_rank_keep_it_too(scales: dict[str, TensorScale]) -> None:
    model = small.network()
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "se2")
    model.graph.node[at].input[0] = "again"
    shaped = (
        helper.make_node("Shape", ["conv2_out"], ["shape"], "shape"),
        helper.make_node("Compress", ["shape", "all"], ["same"], "compress"),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, bool), "all"))
    for node in (helper.make_node("Reshape", ["conv2_out", "same"], ["again"], "reshape"), *reversed(shaped)):
        model.graph.node.insert(at, node)
    assert pools(int8(scales, model)) == {"GlobalAveragePool"}
