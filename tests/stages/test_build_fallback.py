"""INT8 under a bound: the planted layer falls back and no other; what cannot hold is not written."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest, Judged, Scales
from se_deploy.errors import CheckFailed, Contradiction, ImageError, QuantError
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from se_deploy.stages.steps import engines
from se_deploy.stages.steps.typed import typed
from tests.quant import small
from tests.stages import exports

LAYERS = {"conv0": 3, "dw": small.C, "pw": small.C, "conv1": small.C, "conv2": small.C, "fc": small.C}


def planted(*layers: str) -> ModelProto:
    """The small network with one input channel of these layers 3,000 times the others', their weights making up for it: in floating
    point nothing changes, in INT8 every other channel is rounded away. Something else reads the tensor, so that no repair mends it."""
    model = small.network()
    for name in layers:
        at, node = next((i, n) for i, n in enumerate(model.graph.node) if n.name == name)
        factor = np.ones((1, LAYERS[name]) if name == "fc" else (1, LAYERS[name], 1, 1), np.float32)
        factor[0, 0] = 3000
        model.graph.initializer.append(numpy_helper.from_array(factor, f"{name}.factor"))
        large = helper.make_node("Mul", [node.input[0], f"{name}.factor"], [f"{name}.large"], f"{name}.mul")
        weight = small.weight(model, f"{name}.weight") / (factor.reshape(-1, 1, 1, 1) if name == "dw" else factor)
        small.replace(model, f"{name}.weight", weight.astype(np.float32))
        node.input[0] = f"{name}.large"
        model.graph.node.insert(at, helper.make_node("Abs", [f"{name}.large"], [f"{name}.unused"], f"{name}.abs"))
        model.graph.node.insert(at, large)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("calib"), 150)


def judged(engine: Path) -> Judged:
    accuracy = artifacts.read(EngineManifest, engine.with_name(f"{engine.name}.json")).accuracy
    assert accuracy is not None
    return accuracy


def in_float(engine: Path) -> set[str]:
    """Layers that read no integers."""
    model = onnx.load(engine)
    made = {node.output[0]: node.op_type for node in model.graph.node}
    return {node.name for node in model.graph.node if node.name in LAYERS and made.get(node.input[1]) != "DequantizeLinear"}


@pytest.mark.parametrize(("layer", "bound"), [("pw", 93), ("conv1", 90), ("conv2", 90), ("fc", 90)])
def test_the_planted_layer_falls_back_and_no_other(layer: str, bound: float, pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted(layer))
    result = build(model, int8=True, calib=pictures, min_agreement=bound)
    assert result.fallback == (layer,)
    assert in_float(result.output) == {layer}
    accuracy = judged(result.output)
    (fell,) = accuracy.fallback
    assert (fell.name, fell.op) == (layer, "Gemm" if layer == "fc" else "Conv")
    assert fell.sqnr_db < 12
    assert f"place 1 of {len(LAYERS) + 1}" in fell.reason
    assert (accuracy.images, accuracy.judged_on) == (30, "a fifth of calib")
    assert accuracy.agreement >= bound
    assert any(f"{layer} ({fell.op}) is in float" in note for note in result.notes)


def test_a_tighter_bound_takes_more_of_them_back(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted("dw"))
    assert build(model, int8=True, calib=pictures, min_agreement=90).fallback == ()
    result = build(model, int8=True, calib=pictures, min_agreement=100)
    assert result.fallback is not None
    assert (result.fallback[0], len(result.fallback)) == ("dw", 2)


def test_a_healthy_network_keeps_everything_in_int8(pictures: Path, tmp_path: Path) -> None:
    result = build(exports.directory(tmp_path), int8=True, calib=pictures, min_agreement=90)
    assert result.fallback == ()
    assert in_float(result.output) == set()
    assert judged(result.output).fallback == ()


def test_the_images_that_judge_are_not_those_that_calibrate(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path)
    build(model, int8=True, calib=pictures, min_agreement=50)
    table = artifacts.read(Scales, model / "engine.onnx.scales.json")
    assert table.images == 120 - 15, "one in eight judges repairs"
    rest = tmp_path / "rest"
    rest.mkdir()
    for number, path in enumerate(sorted(pictures.iterdir())):
        if number % 5 != 4:
            (rest / path.name).symlink_to(path)
    alone = artifacts.read(Scales, calibrate(model, calib=rest, output=tmp_path / "s.json").output)
    assert table == alone


def test_a_bound_that_cannot_hold_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted(*LAYERS))
    before = sorted(os.listdir(model))
    with pytest.raises(CheckFailed, match=r"INT8 breaks the bound \(an agreement of at least 100 %\) on 30 images") as refused:
        build(model, int8=True, calib=pictures, min_agreement=100)
    assert refused.value.exit_code == 3
    assert sorted(os.listdir(model)) == before


def test_other_images_judge_where_they_are_named(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted("conv2"))
    scales = calibrate(model, calib=pictures, output=tmp_path / "s.json").output
    others = exports.pictures(tmp_path / "others", 40)
    result = build(model, int8=True, scales=scales, min_agreement=90, data=others)
    assert (result.fallback, result.images) == (("conv2",), 150 - 16)
    accuracy = judged(result.output)
    assert (accuracy.images, accuracy.judged_on) == (40, "data")
    again = build(model, int8=True, calib=pictures, min_agreement=90, data=others, output=tmp_path / "again.onnx")
    assert (again.fallback, again.images) == (("conv2",), 150 - 16)


def by_class(folder: Path, count: int, model: Path) -> Path:
    """Images in the folders of the classes that the network takes them for."""
    flat = exports.pictures(folder / "flat", count)
    from tests.stages.test_build import answers

    best = answers(model / "model.onnx", exports.batch(flat, count)).argmax(1)
    for path, label in zip(sorted(flat.iterdir()), best, strict=True):
        (folder / "classes" / str(label)).mkdir(parents=True, exist_ok=True)
        path.rename(folder / "classes" / str(label) / path.name)
    return folder / "classes"


def test_max_drop_is_about_top1(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted("conv2"))
    data = by_class(tmp_path, 40, model)
    result = build(model, int8=True, calib=pictures, max_drop=10, data=data)
    assert result.fallback == ("conv2",)
    accuracy = judged(result.output)
    assert (accuracy.bound, accuracy.top1_reference) == ("a drop of at most 10 points of top-1", 100)
    assert accuracy.top1 is not None
    assert accuracy.top1 >= 90


def test_tensorrts_file_falls_back_the_same_way(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by ONNX Runtime on the file that TensorRT-RTX would get; SE blocks are units there."""
    from se_deploy import backends
    from se_deploy.insight.folding import Bound
    from se_deploy.stages.steps import exported, fallback
    from se_deploy.stages.steps.apart import apart

    monkeypatch.chdir(tmp_path)
    for opset in (17, 20):
        network = planted("conv2")
        network.opset_import[0].version = opset
        source = exported.find(exports.directory(tmp_path, network, name=f"opset{opset}"))
        scales = artifacts.read(Scales, calibrate(source.folder, calib=pictures, output=tmp_path / "s.json").output)
        images = apart(source, Bound(None, 90), pictures, None)
        for plugin in (True, False):
            job = fallback.Job(source, backends.get("tensorrt-rtx"), plugin, scales, images, tmp_path, artifacts.silent)
            chosen = fallback.choose(job)
            assert [fell.name for fell in chosen.accuracy.fallback] == ["conv2"]
            assert f"of {len(LAYERS) + 1 + 2 * plugin}" in chosen.accuracy.fallback[0].reason


def test_the_typed_graph_of_an_engine_is_written_again_with_its_fallback(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted("conv2"))
    build(model, int8=True, calib=pictures, min_agreement=90)
    built = engines.find(model / "engine.onnx")
    plan = built.path.with_name("engine.plan")
    again = typed(engines.Built(plan, built.manifest, built.folder, built.model))
    assert again.SerializeToString() == (model / "engine.onnx").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"fp16": True, "min_agreement": 99}, "are for int8"),
        ({"int8": True, "scales": "s.json", "min_agreement": 99, "max_drop": 1}, "exclude each other"),
        ({"int8": True, "scales": "s.json", "data": "imgs"}, "data is for max_drop or min_agreement"),
        ({"int8": True, "scales": "s.json", "min_agreement": float("nan")}, "from 0 to 100"),
    ],
)
def test_contradictions(words: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(Contradiction, match=said):
        build(exports.directory(tmp_path), **words)


def test_images_that_cannot_judge_are_refused(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path)
    scales = calibrate(model, calib=pictures, output=tmp_path / "s.json").output
    with pytest.raises(QuantError, match="nothing judges the bound"):
        build(model, int8=True, scales=scales, min_agreement=99)
    with pytest.raises(ImageError, match=r"150 image\(s\) to judge by are calibration images"):
        build(model, int8=True, calib=pictures, data=pictures, min_agreement=99)
    with pytest.raises(ImageError, match="has no class folders, so nothing tells how far top-1 drops"):
        build(model, int8=True, calib=pictures, max_drop=1)
    with pytest.raises(ImageError, match=r"4 image\(s\) under .* leave none to judge by"):
        build(model, int8=True, calib=exports.pictures(tmp_path / "four", 4), min_agreement=99)
    assert not (model / "engine.onnx").exists()


def test_an_image_that_cannot_be_read_judges_nothing(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, planted("conv2"))
    data = by_class(tmp_path, 30, model)
    first = sorted(data.rglob("*.png"))[0]
    first.write_bytes(b"no image")
    result = build(model, int8=True, calib=pictures, max_drop=10, data=data)
    assert result.fallback == ("conv2",)
    assert json.loads((model / "engine.onnx.json").read_text())["accuracy"]["images"] == 29
    assert any("skipped 1 of 30 images" in note for note in result.notes)
