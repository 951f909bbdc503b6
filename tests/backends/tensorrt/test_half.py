"""TensorRT-RTX takes files in which some nodes stay in FP32, alone and around INT8, and `bisect` gets the same file again."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from se_deploy.artifacts import Halved, Judged
from se_deploy.backends.tensorrt import parent
from se_deploy.graph.view import View
from se_deploy.stages.build import build
from se_deploy.stages.steps import engines
from se_deploy.stages.steps.typed import typed
from tests.graph.halves import scaled
from tests.quant import small
from tests.stages import exports
from tests.stages.exports import manifest_of

ON_RTX = {"backend": "tensorrt-rtx", "target": ["sm_89"]}
FOUND = ("up1", "down0.relu", "down0")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[ModelProto]:
    """The files that TensorRT was given."""
    seen: list[ModelProto] = []
    run = parent.run

    def watched(job, *rest):  # noqa: ANN001, ANN002, ANN202
        seen.append(onnx.load(job.model))
        return run(job, *rest)

    monkeypatch.setattr(parent, "run", watched)
    return seen


def kinds(model: ModelProto) -> dict[str, int]:
    view = View(model)
    return {node.name: view.elem_type(node.outputs[0]) for node in view.nodes}


@pytest.mark.parametrize("blocks", ["auto", "off"])
@pytest.mark.parametrize("factor", [1e6, 1.2e-8])
def test_a_mixed_file_builds(factor: float, blocks: str, tmp_path: Path, pictures: Path, plugin: Path, given: list[ModelProto]) -> None:
    model = exports.directory(tmp_path, scaled(factor))
    result = build(model, fp16=True, calib=pictures, plugin=blocks, **ON_RTX)
    assert (result.precision, result.fallback, result.plugin_layers) == ("fp16", FOUND, int(blocks == "auto"))
    types = kinds(given[0])
    assert {name for name in FOUND if types[name] == TensorProto.FLOAT} == set(FOUND)
    assert {types[name] for name in ("conv0", "up0", "up1.relu", "down1.relu", "down1", "fc")} == {TensorProto.FLOAT16}
    layers = {layer["name"]: layer for layer in json.loads((model / "engine.layers.json").read_text())["layers"]}
    outputs = {name: layer["outputs"][0]["dtype"] for name, layer in layers.items()}
    assert [outputs[name] for name in ("up0", "up1", "down0", "down1")] == ["HALF", "FLOAT", "FLOAT", "HALF"]
    assert typed(engines.find(result.output)) == given[0]


@pytest.mark.parametrize("blocks", ["auto", "off"])
def test_what_is_fp16_around_int8_gets_the_same(blocks: str, tmp_path: Path, pictures: Path, plugin: Path, given: list[ModelProto]) -> None:
    model = exports.directory(tmp_path, scaled(1e6))
    result = build(model, int8=True, calib=pictures, plugin=blocks, **ON_RTX)
    assert result.fallback is None
    found = manifest_of(result.output).accuracy
    assert isinstance(found, Halved)
    assert [one.name for one in found.in_fp32] == list(FOUND)
    assert any(re.fullmatch(r"INT8 with FP16 around it: [0-9.]+ dB on 2 image\(s\)", note) for note in result.notes)
    types = kinds(given[0])
    assert [types[name] for name in ("up0", "up1", "down0", "down1")] == [
        TensorProto.FLOAT16,
        TensorProto.FLOAT,
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
    ]
    assert types["down0.in/DequantizeLinear"] == TensorProto.FLOAT
    assert types["down1.in/DequantizeLinear"] == TensorProto.FLOAT16
    assert typed(engines.find(result.output)) == given[0]


def test_a_bound_on_int8_is_judged_with_what_stays_in_fp32(tmp_path: Path, plugin: Path, given: list[ModelProto]) -> None:
    """In FP16 the scale of down0.in would be infinite."""
    model = exports.directory(tmp_path, scaled(4e6))
    result = build(model, int8=True, calib=exports.pictures(tmp_path / "imgs", 20), min_agreement=50, **ON_RTX)
    found = manifest_of(result.output).accuracy
    assert isinstance(found, Judged)
    assert (found.images, found.fallback, [one.name for one in found.in_fp32]) == (4, (), list(FOUND))
    assert not any(note.startswith("INT8 with FP16") for note in result.notes)
    assert typed(engines.find(result.output)) == given[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_blocks_on_loud_maps_are_plugin_layers_still(precision: str, tmp_path: Path, pictures: Path, plugin: Path) -> None:
    network = small.network(opset=20)
    for name in ("conv0.weight", "conv0.bias"):
        small.replace(network, name, small.weight(network, name) * np.float32(3e4))
    model = exports.directory(tmp_path, network)
    result = build(model, calib=pictures, **{precision: True}, **ON_RTX)
    assert result.plugin_layers == 2
    layers = json.loads((model / "engine.layers.json").read_text())["layers"]
    first = next(layer for layer in layers if layer["plugin"])
    assert first["outputs"][0]["dtype"] == {"fp16": "FLOAT", "int8": "INT8"}[precision]
    found = manifest_of(result.output).accuracy
    assert isinstance(found, Halved)
    assert {"conv0", "relu0", "dw", "se"} <= {one.name for one in found.in_fp32}


def test_values_that_half_holds_may_have_int8_scales_that_it_does_not(tmp_path: Path, pictures: Path, plugin: Path) -> None:
    """5e-5 is a number in FP16, and 5e-5 / 127 is 7 of its smallest steps."""
    model = exports.directory(tmp_path, scaled(2e-5))
    assert build(model, fp16=True, calib=pictures, **ON_RTX, output=model / "half.plan").fallback == ()
    found = manifest_of(build(model, int8=True, calib=pictures, **ON_RTX).output).accuracy
    assert isinstance(found, Halved)
    assert {one.name for one in found.in_fp32} == set(FOUND)
    assert "has the INT8 scale " in found.in_fp32[-1].reason


def test_weights_that_half_holds_may_have_int8_scales_that_it_does_not(tmp_path: Path, pictures: Path, plugin: Path) -> None:
    network = small.network(opset=20)
    small.replace(network, "conv1.weight", small.weight(network, "conv1.weight") * np.float32(3e-4))
    model = exports.directory(tmp_path, network)
    assert build(model, fp16=True, calib=pictures, **ON_RTX, output=model / "half.plan").fallback == ()
    found = manifest_of(build(model, int8=True, calib=pictures, **ON_RTX).output).accuracy
    assert isinstance(found, Halved)
    (kept,) = found.in_fp32
    assert kept.name == "conv1"
    assert kept.reason.startswith("the INT8 scales of conv1.weight are ")


def test_scales_that_half_cannot_hold_are_fp32(tmp_path: Path, pictures: Path, plugin: Path, given: list[ModelProto]) -> None:
    """1e-7 in INT8 has steps of 8e-10; FP16 ends at 6e-8."""
    model = exports.directory(tmp_path, scaled(1.2e-8))
    scales = build(model, int8=True, calib=pictures, **ON_RTX).output.with_name("engine.plan.scales.json")
    kept = scales.rename(tmp_path / "s.json")
    result = build(model, int8=True, scales=kept, **ON_RTX)
    found = manifest_of(result.output).accuracy
    assert isinstance(found, Halved)
    assert {one.name for one in found.in_fp32} >= {"up0", "down0.relu", "down0"}
    assert len(given) == 2
    for file in given:
        scale = next(t for t in file.graph.initializer if t.name == "down0.in/scale")
        assert scale.data_type == TensorProto.FLOAT


def test_fp16_without_images_says_so(model: Path, plugin: Path) -> None:
    notes = build(model, **ON_RTX).notes
    assert notes[0] == "FP16: activations were not looked at, only weights; --calib DIR finds those that overflow or lose their range"
