"""Channels whose weights are nearly zero beside their bias do not collapse the network, and would, were they not looked after."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import silent
from se_deploy.quant import weights
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.quant.test_place import measured

HELD_OUT = small.images(32, seed=5)
LAYERS = pytest.mark.parametrize("layer", ["dw", "conv1"])


def planted(layer: str, factor: float) -> ModelProto:
    """The small network with three channels of a layer `factor` as large, and a bias of 3 on them."""
    model = small.network()
    weight, bias = small.weight(model, f"{layer}.weight").copy(), small.weight(model, f"{layer}.bias").copy()
    weight[3:6] *= np.float32(factor)
    bias[3:6] = 3
    small.replace(model, f"{layer}.weight", weight)
    small.replace(model, f"{layer}.bias", bias)
    return model


def kept(model: ModelProto, signed: bool, folder: Path, backend: str = "onnxruntime", optimised: bool = True) -> float:
    """SQNR of the INT8 network's answers, dB."""
    (reference,) = run(model, HELD_OUT)
    quantized = ModelProto.FromString(model.SerializeToString())
    place(quantized, measured(model, small.images(64)), signed=signed)
    onnx.checker.check_model(quantized, full_check=True)
    onnx.save(quantized, folder / "model.onnx")
    engine = backends.get(backend)
    engine.build(folder / "model.onnx", folder / "engine.onnx", silent)
    with engine.open(folder / "engine.onnx", threads=1, optimised=optimised) as runner:
        got = runner.run({"x": HELD_OUT})["y"]
    return sqnr(reference, got) if np.isfinite(got).all() else -200.0


@LAYERS
@pytest.mark.parametrize("factor", [1e-5, 1e-8, 1e-12, 1e-42, 0.0])
def test_near_zero_channels_cost_nothing(layer: str, factor: float, tmp_path: Path) -> None:
    model = planted(layer, factor)
    for signed in (True, False):
        for optimised in (True, False):
            assert kept(model, signed, tmp_path, optimised=optimised) > 15
        assert kept(model, signed, tmp_path, "openvino") > 15


COLLAPSES = [("dw", False, "onnxruntime"), ("dw", False, "openvino"), ("conv1", False, "openvino"), ("conv1", True, "onnxruntime")]


@pytest.mark.parametrize(("layer", "signed", "backend"), COLLAPSES)
def test_without_room_for_the_bias_they_collapse_it(
    layer: str, signed: bool, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int32 bias is clipped. ONNX Runtime makes one itself, and wraps, where a Q follows a convolution with an FP32 bias."""
    monkeypatch.setattr(weights, "room_for_bias", lambda scales, *_: scales)
    assert kept(planted(layer, 1e-8), signed, tmp_path, backend) < 7


def test_openvino_keeps_fp32_biases_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the signed form has nothing to lose there."""
    monkeypatch.setattr(weights, "room_for_bias", lambda scales, *_: scales)
    assert kept(planted("conv1", 1e-8), True, tmp_path, "openvino") > 15
