"""The INT8 file that TensorRT gets: int8 at the pairs, FP16 around them, and answers that stay."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from se_deploy.graph import strong
from se_deploy.graph.view import View
from se_deploy.quant import ranges
from se_deploy.stages.steps.strong_int8 import strongly_typed_int8
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.quant.test_place import measured


@pytest.fixture(scope="module")
def scales() -> dict:
    return measured(small.network(), small.images(128), blocks=True)


def typed(scales: dict, opset: int = 20, blocks: bool = True) -> tuple[ModelProto, list[str]]:
    notes: list[str] = []
    model = strongly_typed_int8(small.network(opset=opset), scales, notes, integer_blocks=blocks)
    onnx.checker.check_model(model, full_check=True)
    strong.check(model)
    return model, notes


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("opset", [17, 19, 20])
def test_answers_stay(opset: int, blocks: bool, scales: dict) -> None:
    images = small.images(48, seed=5)
    (reference,) = run(small.network(opset=opset), images)
    (got,) = run(typed(scales, opset, blocks)[0], images)
    assert got.dtype == np.float32
    assert sqnr(reference, got) > 19


def test_what_is_not_in_int8_is_in_fp16(scales: dict) -> None:
    model, notes = typed(scales)
    view = View(model)
    assert notes == []
    for node in view.nodes:
        if node.op in ("Conv", "Relu", "Sigmoid", "Mul", "Add", "Gemm"):
            assert {view.elem_type(name) for name in node.outputs} == {TensorProto.FLOAT16}, node.name
        if node.op == "DequantizeLinear" and node.name != "se2/DequantizeLinear":
            assert view.elem_type(node.outputs[0]) == TensorProto.FLOAT16, node.name
    assert [view.elem_type(o.name) for o in model.graph.output] == [TensorProto.FLOAT]
    assert not any(
        node.op_type == "Cast" and node.input[0].endswith("/dequantized") for node in model.graph.node if "pool" not in node.name
    )


def test_weights_in_int8_come_back_through_their_fp16_scales(scales: dict) -> None:
    model, _ = typed(scales)
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in ("conv0.weight", "dw.weight", "conv1.weight", "fc.weight"):
        real, scale = small.weight(small.network(), name), values[f"{name}/scale"]
        assert scale.dtype == np.float16
        back = values[f"{name}/quantized"].astype(np.float32) * scale.astype(np.float32).reshape(-1, *[1] * (real.ndim - 1))
        assert np.abs(back - real.astype(np.float16)).max() <= scale.astype(np.float32).max() / 2 * 1.001


def test_below_opset_19_fp32_stays_and_that_is_said(scales: dict) -> None:
    model, notes = typed(scales, opset=17)
    assert notes == ["what is not in INT8 stays in FP32: opset 17 has no FP16 scales, 19 has; export with --opset 19"]
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT, TensorProto.INT8}


def test_scales_go_up_to_the_next_of_fp16_and_not_below_what_it_holds() -> None:
    given = np.array([1.0, 0.1, 1 / 3, 2.0**-14, 1e-5, 1e-9], np.float32)
    rounded = ranges.up_to_half(given)
    np.testing.assert_array_equal(rounded, rounded.astype(np.float16).astype(np.float32))
    assert (rounded >= given).all()
    assert (rounded[:4] <= given[:4] * (1 + 2.0**-10)).all()
    assert rounded[4] < 1.01e-5
    assert rounded[5] == ranges.LEAST_HALF
