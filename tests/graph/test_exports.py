"""Real networks by both exporters: every SE module found, fused and plain equal, the way back."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import TensorProto, numpy_helper

from se_deploy.graph.fuse import FuseResult, fuse
from se_deploy.graph.unfuse import unfuse
from tests.graph.exported import exported, images, run, shaken


def check(plain: onnx.ModelProto, blocks: int, variant: str, size: int = 64, tolerance: float = 1e-5) -> FuseResult:
    result = fuse(plain)
    assert [m.variant.name.removeprefix("SqueezeExcite_") for m in result.found.matches] == [variant] * blocks
    assert len(result.fused) == blocks
    assert result.found.rejections == ()
    onnx.checker.check_model(result.model, full_check=True)
    back = unfuse(result.model)
    for batch in (1, 3):
        x = images(batch, size)
        expected = run(plain, x)
        assert np.ptp(expected) > 0.01
        for other in (result.model, back):
            assert np.abs(run(other, x) - expected).max() <= tolerance * np.ptp(expected)
    return result


NETWORKS = [
    ("seresnet50", 16, "relu_sigmoid_skip_add_then_relu"),
    ("legacy_seresnet50", 16, "relu_sigmoid_skip_add_then_relu"),
    ("legacy_seresnext26_32x4d", 8, "relu_sigmoid_skip_add_then_relu"),
    ("efficientnet_b0", 16, "silu_sigmoid_skip_none_then_none"),
    ("mobilenetv3_small_100", 9, "relu_hardsigmoid_skip_none_then_none"),
    ("regnety_002", 13, "relu_sigmoid_skip_none_then_none"),
    ("rexnet_100", 13, "relu_sigmoid_skip_none_then_none"),
    ("ese_vovnet19b_dw", 4, "none_hardsigmoid_skip_none_then_none"),
]


@pytest.mark.parametrize(("name", "blocks", "variant"), NETWORKS)
def test_timm(name: str, blocks: int, variant: str) -> None:
    modules = [type(m).__name__ for m in shaken(name).modules()]
    assert sum(m in ("SEModule", "SqueezeExcite", "SEWithNorm", "EffectiveSEModule") for m in modules) == blocks
    check(exported(name), blocks, variant)


@pytest.mark.parametrize("opset", range(13, 21))
def test_torchscript_opsets(opset: int) -> None:
    result = check(exported("legacy_seresnet18", 32, opset=opset), 8, "relu_sigmoid_skip_add_then_relu", 32)
    assert result.fused[:3] == ("layer1.0.se_module", "layer1.1.se_module", "layer2.0.se_module")


def by_dynamo(name: str, opset: int) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(shaken(name), (torch.randn(2, 3, 32, 32),), file, dynamo=True, opset_version=opset,
                          dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False)  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize("opset", [18, 19, 20])
def test_dynamo_opsets(opset: int) -> None:
    result = check(by_dynamo("legacy_seresnet18", opset), 8, "relu_sigmoid_skip_add_then_relu", 32)
    assert result.fused[:3] == ("layer1.0.se_module", "layer1.1.se_module", "layer2.0.se_module")


@pytest.mark.slow
def test_dynamo_mobilenet() -> None:
    check(by_dynamo("mobilenetv3_small_100", 18), 9, "relu_hardsigmoid_skip_none_then_none", 32)


def test_any_size_keeps_its_residuals() -> None:
    plain = exported("legacy_seresnet18", 32, any_size=True)
    check(plain, 8, "relu_sigmoid_skip_add_then_relu", 32)
    check(plain, 8, "relu_sigmoid_skip_add_then_relu", 47)


def of_torchvision(name: str) -> onnx.ModelProto:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, 0, 0.1)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
        elif isinstance(part, torchvision.ops.SqueezeExcitation):
            for layer in (part.fc1, part.fc2):
                torch.nn.init.normal_(layer.weight, 0, 2 * layer.in_channels**-0.5)
                torch.nn.init.normal_(layer.bias, 0, 1)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, 3, 64, 64),), file, dynamo=False, opset_version=17,
                          input_names=["input"], dynamic_axes={"input": {0: "batch"}})  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


@pytest.mark.parametrize(
    ("name", "blocks", "variant"),
    [
        ("mobilenet_v3_small", 9, "relu_hardsigmoid_skip_none_then_none"),
        ("efficientnet_b0", 16, "silu_sigmoid_skip_none_then_none"),
        ("regnet_y_400mf", 16, "relu_sigmoid_skip_none_then_none"),
    ],
)
def test_torchvision(name: str, blocks: int, variant: str) -> None:
    check(of_torchvision(name), blocks, variant)


def test_half_precision() -> None:
    """A network in FP16 throughout: its SE weights become FP32, its maps stay."""
    plain = exported("mobilenetv3_small_100")
    for tensor in [*plain.graph.initializer, *(a.t for n in plain.graph.node for a in n.attribute if a.HasField("t"))]:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    plain.graph.node[0].input[0] = "halved"
    plain.graph.node.insert(0, onnx.helper.make_node("Cast", ["input"], ["halved"], "halve", to=TensorProto.FLOAT16))
    plain.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    result = check(plain, 9, "relu_hardsigmoid_skip_none_then_none", tolerance=2e-2)
    assert {m.elem_type for m in result.found.matches} == {TensorProto.FLOAT16}
    kinds = {i.name: i.data_type for i in result.model.graph.initializer}
    assert {kinds[n] for node in result.model.graph.node if node.domain for n in node.input[1:]} == {TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("name", "id", "count"),
    [
        ("eca_resnext26ts", "conv-over-channels", 8),
        ("gcresnext26ts", "added", 8),
        ("skresnet18", "softmax", 8),
        ("resnest14d", "softmax", 4),
    ],
)
def test_other_attention_is_left_alone_and_named(name: str, id: str, count: int) -> None:
    result = fuse(exported(name))
    assert result.fused == ()
    assert [r.id for r in result.found.rejections] == [id] * count
