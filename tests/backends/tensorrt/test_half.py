"""TensorRT-RTX takes files in which some nodes stay in FP32, alone and around INT8, and `bisect` gets the same file again."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto

from se_deploy.artifacts import Halved
from se_deploy.backends.tensorrt import parent
from se_deploy.graph.view import View
from se_deploy.stages.build import build
from se_deploy.stages.steps import engines
from se_deploy.stages.steps.typed import typed
from tests.graph.halves import scaled
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
    assert any(note.startswith("INT8 with FP16 around it: ") for note in result.notes)
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


def test_scales_that_half_cannot_hold_are_fp32(tmp_path: Path, pictures: Path, plugin: Path, given: list[ModelProto]) -> None:
    """1e-7 in INT8 has steps of 8e-10; FP16 ends at 6e-8."""
    model = exports.directory(tmp_path, scaled(1.2e-8))
    scales = build(model, int8=True, calib=pictures, **ON_RTX).output.with_name("engine.plan.scales.json")
    kept = scales.rename(tmp_path / "s.json")
    result = build(model, int8=True, scales=kept, **ON_RTX)
    found = manifest_of(result.output).accuracy
    assert isinstance(found, Halved)
    assert {one.name for one in found.in_fp32} >= {"down0.relu", "down0"}
    assert len(given) == 2
    for file in given:
        scale = next(t for t in file.graph.initializer if t.name == "down0.in/scale")
        assert scale.data_type == TensorProto.FLOAT


def test_fp16_without_images_says_so(model: Path, plugin: Path) -> None:
    notes = build(model, **ON_RTX).notes
    assert notes[0] == "FP16: activations were not looked at, only weights; --calib DIR finds those that overflow or lose their range"
