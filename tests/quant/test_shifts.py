"""One-sided tensors use all of int8 by a constant: the integers are those of a zero point, and the bias takes the constant back."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from se_deploy.artifacts import TensorScale
from se_deploy.graph import strong
from se_deploy.quant import ranges, shifts, sites
from se_deploy.quant.place import place
from se_deploy.stages.steps.strong_int8 import strongly_typed_int8
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.quant.test_place import measured

#: What layers without padding read alone: conv1 and dw pad, se is added too.
FOUND = ["silu", "sum", "flat"]


def quantized(model: ModelProto, shifted: list[str], **options: object) -> ModelProto:
    scales = measured(model, small.images(128), blocks=True)
    after = ModelProto.FromString(model.SerializeToString())
    place(after, scales, shifted=shifted, **options)
    onnx.checker.check_model(after, full_check=True)
    strong.check(after)
    return after


def found(model: ModelProto, **options: bool) -> list[str]:
    return shifts.find(model, sites.find(model, blocks=options.get("blocks", False)), **options)


def test_found_are_tensors_that_layers_without_padding_read_alone() -> None:
    assert found(small.network()) == FOUND


@pytest.mark.parametrize(
    ("name", "attribute"), [("pw", {"pads": [1, 0, 0, 0]}), ("pw", {"auto_pad": "SAME_UPPER"}), ("conv2", {"group": 2})]
)
def test_padding_and_groups_are_left_alone(name: str, attribute: dict) -> None:
    model = small.network()
    node = next(n for n in model.graph.node if n.name == name)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attribute.items())
    assert {"pw": "silu", "conv2": "sum"}[name] not in found(model)


def test_what_a_block_gives_is_shifted_only_where_the_block_stays_in_float() -> None:
    model = small.network()
    next(n for n in model.graph.node if n.name == "conv1").input[0] = "sum0"
    model.graph.node[-1].input[0] = "flat"
    add = next(n for n in model.graph.node if n.name == "add")
    model.graph.node.remove(next(n for n in model.graph.node if n.name == "conv1"))
    add.input[0] = "relu0"
    pooled = next(n for n in model.graph.node if n.name == "pool")
    extra = helper.make_node("Conv", ["se2", "pw.weight", "pw.bias"], ["extra"], "extra")
    model.graph.node.insert(list(model.graph.node).index(pooled), extra)
    pooled.input[0] = "extra"
    assert "se2" in found(model)
    assert "se2" not in found(model, blocks=True)


def test_integers_are_those_of_a_zero_point() -> None:
    """Each shifted tensor's integers, less the constant in steps, are what uint8 with its zero point gives, less 128."""
    model = small.network()
    after = quantized(model, FOUND)
    scales = measured(model, small.images(128))
    for name in ("silu", "sum"):
        (values, integers) = run(after, small.images(8, seed=3), name)[1], None
        step, constant = (float(small.weight(after, f"{name}/{part}")) for part in ("scale", "shift"))
        wide = ranges.unsigned(scales[name])
        assert step == pytest.approx(float(wide.scale))
        assert constant == pytest.approx((int(wide.zero_point) - 128) * step)
        integers = np.clip(np.rint((values + np.float32(constant)) / np.float32(step)), -128, 127)
        want = np.clip(np.rint(values / np.float32(step)) + int(wide.zero_point), 0, 255) - 128
        assert np.abs(integers - want).max() <= 1  # at ties, by the addition's rounding
        assert np.mean(integers != want) < 1e-3


def test_zero_stays_zero() -> None:
    """A tensor of zeros makes the layer give its bias, to rounding."""
    model = small.network()
    for name in ("conv2.weight", "conv2.bias"):
        small.replace(model, name, small.weight(model, name))
    after = quantized(model, ["sum"])
    scale, constant = small.weight(after, "sum/scale"), small.weight(after, "sum/shift")
    assert float(constant) / float(scale) == pytest.approx(-128, abs=1e-4)
    held = small.weight(after, "conv2.weight/quantized") * small.weight(after, "conv2.weight/scale").reshape(-1, 1, 1, 1)
    node = next(n for n in after.graph.node if n.name == "conv2")
    given = float(constant) * held.sum((1, 2, 3)) + small.weight(after, node.input[2])
    np.testing.assert_allclose(given, small.weight(model, "conv2.bias"), atol=1e-4)


@pytest.mark.parametrize(("name", "finer"), [("silu", 0.7), ("sum", 0.6)])
def test_what_integers_hold_is_nearer_to_the_tensor(name: str, finer: float) -> None:
    """What is never negative has twice as many steps."""
    model, images = small.network(), small.images(64, seed=5)
    errors = []
    for shifted in ([], [name]):
        after = quantized(model, shifted)
        own, held = run(after, images, name, f"{name}/dequantized")[1:]
        errors.append(np.sqrt(np.mean(np.square(held - own - (float(small.weight(after, f"{name}/shift")) if shifted else 0)))))
    assert errors[1] < finer * errors[0]


@pytest.mark.parametrize("optimised", [False, True])
def test_the_answers_stay(optimised: bool) -> None:
    model, images = small.network(), small.images(64, seed=5)
    (reference,) = run(model, images)
    before, after = (sqnr(reference, run(quantized(model, names), images, optimised=optimised)[0]) for names in ([], FOUND))
    assert after > before - 1


def test_a_layer_without_a_bias_gets_one() -> None:
    model = small.network()
    del next(n for n in model.graph.node if n.name == "conv2").input[2:]
    after = quantized(model, ["sum"])
    images = small.images(16, seed=5)
    assert sqnr(run(model, images)[0], run(after, images)[0]) > 20


def test_a_gemm_that_is_not_transposed() -> None:
    model = small.network()
    fc = model.graph.node[-1]
    small.replace(model, "fc.weight", np.ascontiguousarray(small.weight(model, "fc.weight").T))
    fc.CopyFrom(helper.make_node("Gemm", list(fc.input), ["y"], "fc"))
    images = small.images(16, seed=5)
    assert sqnr(run(model, images)[0], run(quantized(model, ["flat"]), images)[0]) > 20


def test_a_range_that_is_even_is_not_shifted() -> None:
    assert shifts.shift(TensorScale(min=-1, max=1, scale=1 / 127)) is None
    assert shifts.shift(TensorScale(min=-0.2, max=1, scale=1 / 127)) is None
    assert shifts.shift(TensorScale(min=0, max=0, scale=1 / 127)) is None
    one = shifts.shift(TensorScale(min=0, max=1, scale=1 / 127))
    assert one is not None
    assert float(one.integers.scale) == pytest.approx(1 / 255)


@pytest.mark.parametrize("blocks", [True, False])
def test_around_fp16_the_constant_is_a_whole_number_of_steps(blocks: bool) -> None:
    model = small.network(opset=20)
    scales = measured(model, small.images(128), blocks=True)
    after = strongly_typed_int8(small.network(opset=20), scales, [], integer_blocks=blocks, shifted=FOUND)  # flat is a Cast's there
    onnx.checker.check_model(after, full_check=True)
    strong.check(after)
    values = {t.name: numpy_helper.to_array(t) for t in after.graph.initializer}
    for name in ("silu", "sum"):
        scale, constant = values[f"{name}/scale"], values[f"{name}/shift"]
        assert (scale.dtype, constant.dtype) == (np.float16, np.float16)
        steps = float(constant) / float(scale)
        assert steps == pytest.approx(round(steps), abs=0.05)
    images = small.images(48, seed=5)
    plain = strongly_typed_int8(small.network(opset=20), scales, [], integer_blocks=blocks)
    (reference,) = run(model, images)
    assert sqnr(reference, run(after, images)[0]) > sqnr(reference, run(plain, images)[0]) - 1


def test_the_unsigned_form_is_not_shifted() -> None:
    model = small.network()
    scales = measured(model, small.images(16))
    plain, after = (ModelProto.FromString(model.SerializeToString()) for _ in range(2))
    place(plain, scales, signed=False)
    place(after, scales, signed=False, shifted=FOUND)
    assert after.SerializeToString() == plain.SerializeToString()
