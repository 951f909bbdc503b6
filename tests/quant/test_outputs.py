"""Convolutions' outputs with a scale for each channel in the unsigned form: still one integer convolution, and a Mul behind it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from se_deploy.artifacts import TensorScale
from se_deploy.errors import QuantError
from se_deploy.quant import outputs, ranges
from se_deploy.quant.channels import Channels, equalising
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import kernels, run, sqnr
from tests.quant.test_place import measured

#: What dw, pw and conv2 give to nodes in float; relu0 and se are read by convolutions too.
FOUND = {"dw_out": "dw", "pw_out": "pw", "conv2_out": "conv2"}
FAR = np.where(np.arange(small.C) == 3, 500, 1).astype(np.float32)


def spread() -> ModelProto:
    """The small network with one channel of what conv2 gives 500 times the others; the layer behind the pool makes up for it."""
    model = small.network()
    for name, factor in (("conv2.weight", FAR.reshape(-1, 1, 1, 1)), ("conv2.bias", FAR), ("fc.weight", 1 / FAR)):
        small.replace(model, name, small.weight(model, name) * factor)
    small.replace(model, "se2.w1", small.weight(model, "se2.w1") / FAR)
    return model


def divided(model: ModelProto) -> tuple[dict[str, TensorScale], dict[str, tuple[float, ...]]]:
    scales, factors = measured(model, small.images(64)), {}
    for name, values in zip(FOUND, run(model, small.images(64), *FOUND)[1:], strict=True):
        channels = Channels()
        channels.update(values)
        factors[name] = tuple(float(f) for f in equalising(channels, 1.0))
        scales[f"{name}{outputs.SUFFIX}"] = ranges.choose(name, channels.rescaled(np.array(factors[name])))[0]
    return scales, factors


def test_found_are_outputs_that_no_integers_read() -> None:
    model = small.network()
    assert {name: model.graph.node[index].name for name, index in outputs.find(model).items()} == FOUND


@pytest.mark.parametrize("optimised", [False, True])
def test_channels_far_apart_keep_their_values(optimised: bool) -> None:
    model = spread()
    scales, factors = divided(model)
    plain, split = (ModelProto.FromString(model.SerializeToString()) for _ in range(2))
    place(plain, scales, signed=False)
    place(split, scales, signed=False, divided=factors)
    onnx.checker.check_model(split, full_check=True)
    images = small.images(48, seed=5)
    reference, before, after = (run(one, images, optimised=optimised)[0] for one in (model, plain, split))
    assert sqnr(reference, after) > sqnr(reference, before) + 3


def test_convolutions_stay_integer_and_scales_per_tensor(tmp_path: Path) -> None:
    model = spread()
    scales, factors = divided(model)
    place(model, scales, signed=False, divided=factors)
    assert kernels(model, tmp_path).count("QLinearConv") == 5
    behind = {node.input[0]: node for node in model.graph.node if node.op_type == "Mul" and node.name.endswith("/Mul")}
    assert set(behind) == {f"{name}/divided" for name in FOUND}
    for name in FOUND:
        assert small.weight(model, f"{name}/scale").shape == ()
        np.testing.assert_array_equal(small.weight(model, f"{name}/divisors").ravel(), np.float32(factors[name]))


def test_the_signed_form_has_no_such_pairs() -> None:
    model = small.network()
    scales, factors = divided(model)
    plain = ModelProto.FromString(model.SerializeToString())
    place(plain, scales)
    place(model, scales, divided=factors)
    assert model.SerializeToString() == plain.SerializeToString()


def test_a_layer_in_float_is_not_divided() -> None:
    model = small.network()
    scales, factors = divided(model)
    place(model, scales, signed=False, divided=factors, floats={"conv2"})
    np.testing.assert_array_equal(small.weight(model, "conv2.weight"), small.weight(small.network(), "conv2.weight"))
    assert "conv2_out/divisors" not in {t.name for t in model.graph.initializer}


@pytest.mark.parametrize("factors", [(1.0,), (0.0,) * small.C, (-1.0,) * small.C, (float("inf"),) * small.C])
def test_factors_that_do_not_fit_are_refused(factors: tuple[float, ...]) -> None:
    model = small.network()
    scales, good = divided(model)
    with pytest.raises(QuantError, match="conv2_out has 16 channels, and the scales divide them by other .*; calibrate again"):
        place(model, scales, signed=False, divided=good | {"conv2_out": factors})
