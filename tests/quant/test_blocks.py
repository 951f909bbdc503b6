"""SE nodes in INT8 form: the pairs around them go into them, and not a bit of the answer changes."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from se_deploy import op
from se_deploy.quant import blocks
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.quant.test_place import measured


@pytest.fixture(scope="module")
def scales() -> dict:
    return measured(small.network(), small.images(128), blocks=True)


def quantized(scales: dict, model: ModelProto | None = None) -> ModelProto:
    model = model or small.network()
    place(model, scales, signed=True, integer_blocks=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(model: ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def test_every_node_takes_int8_with_the_scales_of_the_pairs(scales: dict) -> None:
    model = quantized(scales)
    se, se2 = node(model, "se"), node(model, "se2")
    assert (se.op_type, se2.op_type) == (f"{small.FIRST.name}_int8", f"{small.SECOND.name}_int8")
    assert list(se.input) == ["pw_out/quantized", "se.w1", "se.b1", "se.w2", "se.b2", "relu0/quantized"]
    assert (list(se.output), list(se2.output)) == (["se/quantized"], ["se2/quantized"])
    wanted = {"x_scale": "pw_out", "residual_scale": "relu0", "y_scale": "se"}
    assert op.attributes_of(se) == {key: np.float32(scales[name].scale) for key, name in wanted.items()}
    wanted = {"alpha": np.float32(1 / 6), "beta": 0.5, "x_scale": np.float32(scales["conv2_out"].scale)}
    assert op.attributes_of(se2) == wanted | {"y_scale": np.float32(scales["se2"].scale)}


def test_no_pair_is_left_that_nothing_reads(scales: dict) -> None:
    model = quantized(scales)
    read = {name for n in model.graph.node for name in n.input} | {"y"}
    assert all(name in read for n in model.graph.node for name in n.output)
    assert {t.name for t in model.graph.initializer} <= read
    assert [n.op_type for n in model.graph.node].count("QuantizeLinear") == len(small.BLOCKS) - 2


def test_the_answer_is_that_of_the_pairs_to_the_bit(scales: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    images = small.images(16, seed=5)
    (got,) = run(quantized(scales), images)
    monkeypatch.setattr(blocks, "absorb", lambda model: None)
    pairs = quantized(scales)
    assert node(pairs, "se").op_type == small.FIRST.name
    (want,) = run(pairs, images)
    np.testing.assert_array_equal(got, want)
    (reference,) = run(small.network(), images)
    assert sqnr(reference, got) > 25


@pytest.mark.parametrize("what", ["per channel", "another zero point", "another reader"])
def test_a_node_that_does_not_stand_between_plain_pairs_is_left_alone(what: str, scales: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    absorb = blocks.absorb
    monkeypatch.setattr(blocks, "absorb", lambda model: None)
    model = quantized(scales)
    if what == "per channel":
        small.replace(model, "pw_out/scale", np.full(small.C, 0.1, np.float32))
    elif what == "another zero point":
        small.replace(model, "pw_out/zero_point", np.asarray(1, np.int8))
    else:
        model.graph.output.append(helper.make_tensor_value_info("se", onnx.TensorProto.FLOAT, None))
        model.graph.node.append(helper.make_node("Relu", ["se"], ["again"], "again"))
    absorb(model)
    assert node(model, "se").op_type == small.FIRST.name
    assert node(model, "se2").op_type == f"{small.SECOND.name}_int8"
    assert numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == "se.w1")).dtype == np.float32
