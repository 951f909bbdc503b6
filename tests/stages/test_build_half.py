"""`build --fp16` with images, with a scale file, and with neither: what stays in FP32, what is said of it, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from se_deploy.artifacts import Halved
from se_deploy.cli.app import app
from se_deploy.errors import BackendError, ImageError, QuantError
from se_deploy.graph.half import to_half
from se_deploy.graph.rounded import rounded
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from se_deploy.stages.steps.engines import find
from se_deploy.stages.steps.typed import typed
from tests.graph.halves import scaled
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.stages import exports
from tests.stages.exports import manifest_of

FOUND = ("up1", "down0.relu", "down0")
UNSEEN = "FP16: activations were not looked at, only weights; --calib DIR finds those that overflow or lose their range"


def record(engine: Path) -> Halved:
    found = manifest_of(engine).accuracy
    assert isinstance(found, Halved)
    return found


def db(notes: tuple[str, ...], images: int) -> float:
    """What is said of the answers."""
    (found,) = [match for note in notes if (match := re.fullmatch(rf"FP16: ([0-9.]+) dB on {images} image\(s\)", note))]
    return float(found[1])


def test_a_healthy_network_is_fp16_whole_and_says_how_well(model: Path, folder: Path) -> None:
    result = build(model, fp16=True, calib=folder)
    assert (result.images, result.fallback, len(result.notes)) == (5, (), 1)
    assert record(result.output).in_fp32 == ()
    assert db(result.notes, 5) == pytest.approx(record(result.output).sqnr_db, abs=0.06)
    images = exports.batch(folder, 5)
    assert db(result.notes, 5) == pytest.approx(
        sqnr(run(small.network(), images)[0], run(rounded(onnx.load(result.output)), images)[0]), abs=0.1
    )
    before = result.output.read_bytes()
    assert build(model, fp16=True).output.read_bytes() == before


@pytest.mark.parametrize("factor", [1e6, 1.2e-8])
def test_what_stays_in_fp32_is_in_the_notes_the_json_and_the_manifest(factor: float, tmp_path: Path, folder: Path) -> None:
    model = exports.directory(tmp_path, scaled(factor))
    result = build(model, fp16=True, calib=folder)
    assert result.fallback == FOUND
    kept = record(result.output).in_fp32
    assert [(one.name, one.op) for one in kept] == [("up1", "Conv"), ("down0.relu", "Relu"), ("down0", "Conv")]
    assert result.notes[:3] == tuple(f"{one.name} ({one.op}) stays in FP32: {one.reason}" for one in kept)
    assert kept[0].reason.startswith("up1 reaches " if factor > 1 else "up1 keeps ")
    assert db(result.notes, 5) > 45
    images = exports.batch(folder, 5)
    got = run(rounded(onnx.load(result.output)), images)[0]
    assert sqnr(run(scaled(factor), images)[0], got) > 45
    assert typed(find(result.output)) == onnx.load(result.output)


def test_without_images_weights_alone_are_looked_at_and_that_is_said(tmp_path: Path) -> None:
    result = build(exports.directory(tmp_path / "1", scaled(1e6)), fp16=True)
    assert (result.notes, result.fallback, result.images) == ((UNSEEN,), (), None)
    assert manifest_of(result.output).accuracy is None
    result = build(exports.directory(tmp_path / "2", scaled(1e-11)), fp16=True)
    assert result.fallback == ("up0", "up1", "down0", "down1")
    assert result.notes[:2] == (UNSEEN, "up0 (Conv) stays in FP32: up0.w is 1.81e-06 at most, FP16 is exact down to 6.1e-05")
    assert (record(result.output).images, record(result.output).sqnr_db) == (None, None)


@pytest.mark.parametrize(("factor", "found"), [(1, ()), (1e6, FOUND), (1.2e-8, FOUND)])
def test_a_scale_file_tells_by_its_ranges(factor: float, found: tuple[str, ...], tmp_path: Path, folder: Path) -> None:
    model = exports.directory(tmp_path, scaled(factor))
    scales = calibrate(model, calib=folder, output=tmp_path / "s.json").output
    result = build(model, fp16=True, scales=scales)
    assert (result.fallback, result.images) == (found, 5)
    assert result.notes[0] == "FP16: the scale file has the ranges of 8 of 13 tensors; --calib DIR looks at all of them"
    assert manifest_of(result.output).scales is None
    assert not (model / "engine.onnx.scales.json").exists()


def test_scales_of_another_model_are_refused(model: Path, tmp_path: Path, folder: Path) -> None:
    other = exports.directory(tmp_path / "other", scaled(1))
    scales = calibrate(other, calib=folder, output=tmp_path / "s.json").output
    with pytest.raises(QuantError, match="holds scales of the graph"):
        build(model, fp16=True, scales=scales)


def cancelling() -> ModelProto:
    """y = mean(0.001 / (((|x| + 1) * 1e-4 + 1) - 1)): FP16 has nothing between 1 and 1.00098, and no tensor's range shows it."""
    names = {"small": 1e-4, "one": 1.0, "over": 1e-3}
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], "abs"),
        helper.make_node("Add", ["a", "one"], ["b"], "positive"),
        helper.make_node("Mul", ["b", "small"], ["c"], "mul"),
        helper.make_node("Add", ["c", "one"], ["d"], "add"),
        helper.make_node("Sub", ["d", "one"], ["e"], "sub"),
        helper.make_node("Div", ["over", "e"], ["f"], "div"),
        helper.make_node("GlobalAveragePool", ["f"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "flatten"),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, small.SIZE, small.SIZE])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    tensors = [numpy_helper.from_array(np.float32(value), name) for name, value in names.items()]
    graph = helper.make_graph(nodes, "cancelling", [given], [answer], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_answers_that_are_not_finite_refuse_the_build_and_name_the_tensor(tmp_path: Path, folder: Path) -> None:
    model = exports.directory(tmp_path, cancelling())
    before = sorted(path.name for path in model.iterdir())
    with pytest.raises(BackendError) as caught:
        build(model, fp16=True, calib=folder)
    assert str(caught.value) == "in FP16 f is not finite on these images, in FP32 y is; build with --fp32"
    assert sorted(path.name for path in model.iterdir()) == before


def test_a_low_figure_is_said_with_where_to_look(tmp_path: Path, folder: Path) -> None:
    """A difference of near equals loses what no tensor's range shows."""
    network = cancelling()
    network.graph.node[5].op_type = "Mul"
    small.replace(network, "over", np.asarray(np.float32(100)))
    small.replace(network, "small", np.asarray(np.float32(2e-3)))
    result = build(exports.directory(tmp_path, network), fp16=True, calib=folder)
    assert re.fullmatch(
        r"FP16: -?[0-9.]+ dB on 5 image\(s\), less than the 40 dB that are usual; `se-deploy bisect` names .*", result.notes[-1]
    )
    assert record(result.output).sqnr_db < 40


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_filled_up(batch: int, tmp_path: Path, folder: Path) -> None:
    result = build(exports.directory(tmp_path, small.network(batch=batch)), fp16=True, calib=folder)
    assert (result.images, result.fallback) == (5, ())
    assert db(result.notes, 5) > 45


def test_images_that_cannot_be_read(model: Path, tmp_path: Path, folder: Path) -> None:
    (folder / "bad.png").write_text("no image")
    result = build(model, fp16=True, calib=folder)
    assert result.images == 5
    assert result.notes[0].startswith("skipped 1 of 6 images that cannot be used: bad.png")
    assert db(result.notes, 5) > 45
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").touch()
    with pytest.raises(ImageError, match="none of the 1 images"):
        build(model, fp16=True, calib=tmp_path / "none", force=True)


def test_a_network_that_takes_no_images_is_refused(tmp_path: Path, folder: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"], "relu")]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy"]
    network = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    with pytest.raises(QuantError, match=r"the network's inputs \(x \['N', 3\]\) are not one batch of images; leave --calib out"):
        build(exports.directory(tmp_path, network), fp16=True, calib=folder)


def test_a_model_that_is_fp16_already(tmp_path: Path, folder: Path) -> None:
    result = build(exports.directory(tmp_path, to_half(small.network())), fp16=True, calib=folder)
    assert (result.fallback, len(result.notes)) == ((), 1)
    assert db(result.notes, 5) > 45


def test_a_model_that_is_not_finite_in_fp32_is_not_blamed_on_fp16(tmp_path: Path, folder: Path) -> None:
    network = small.network()
    small.replace(network, "conv1.bias", np.full(small.C, np.nan, np.float32))
    with pytest.raises(
        BackendError, match="^the model's output y is not finite in FP32 on these images; check the checkpoint, and how the im"
    ):
        build(exports.directory(tmp_path, network), fp16=True, calib=folder)


def test_nodes_without_names_go_by_what_they_give(tmp_path: Path, folder: Path) -> None:
    network = scaled(1e6)
    for node in network.graph.node:
        node.name = ""
    result = build(exports.directory(tmp_path, network), fp16=True, calib=folder)
    assert result.fallback == ("up1", "down0.in", "down0")
    assert db(result.notes, 5) > 45


def test_many_are_counted_on_the_terminal_and_named_in_the_manifest(tmp_path: Path, folder: Path) -> None:
    result = build(exports.directory(tmp_path, scaled(1e12)), fp16=True, calib=folder)
    assert result.fallback is not None
    assert len(result.fallback) == len(record(result.output).in_fp32) == 7
    assert sum("stays in FP32: " in note for note in result.notes) == 5
    assert "2 more node(s) stay in FP32; the engine's manifest names them" in result.notes


def test_the_command(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exports.directory(Path("engines"), scaled(1e6))
    done = CliRunner().invoke(app, ["build", "--fp16", "--calib", str(folder), "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert (found["precision"], found["images"], found["fallback"]) == ("fp16", 5, list(FOUND))
    assert "down0 (Conv) stays in FP32: down0.in reaches " in done.stderr
    raw = json.loads(Path("engines/small/engine.onnx.json").read_text())
    assert [one["name"] for one in raw["accuracy"]["in_fp32"]] == list(FOUND)
