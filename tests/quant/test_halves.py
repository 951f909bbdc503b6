"""Scales that INT8 needs and FP16 has not."""

import numpy as np

from se_deploy.artifacts import TensorScale
from se_deploy.quant import halves
from se_deploy.quant.ranges import LEAST_HALF
from tests.graph.halves import scaled
from tests.quant import small


def test_tensors_below_the_least_fp16_scale() -> None:
    least = float(LEAST_HALF)
    scales = {
        name: TensorScale(min=-127 * scale, max=127 * scale, scale=scale) for name, scale in (("a", least), ("b", 0.9 * least), ("c", 1e-9))
    }
    assert halves.tensors(scales) == {
        "b": "has the INT8 scale 1.7e-06, the least in FP16 is 1.9e-06",
        "c": "has the INT8 scale 1e-09, the least in FP16 is 1.9e-06",
    }


def test_layers_of_which_the_weights_scales_would_grow() -> None:
    assert halves.layers(small.network()) == {}
    assert halves.layers(scaled(1)) == {}
    found = halves.layers(scaled(4e-8))
    assert list(found) == ["up0", "up1"]
    assert found["up0"].startswith("the INT8 scales of up0.w are 9e-07 at most")


def test_one_quiet_channel_and_channels_of_zeros_are_no_reason() -> None:
    model = small.network()
    weight = small.weight(model, "conv1.weight").copy()
    weight[0] *= np.float32(1e-6)
    weight[1] = 0
    small.replace(model, "conv1.weight", weight)
    assert halves.layers(model) == {}


def test_a_layer_without_a_name_goes_by_what_it_gives() -> None:
    model = scaled(4e-8)
    next(node for node in model.graph.node if node.name == "up1").name = ""
    assert list(halves.layers(model)) == ["up0", "up1"]
