"""Repairs in `calibrate`: on where images that were not measured gain by them, decided alike everywhere, kept in the scale file."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from se_deploy import artifacts
from se_deploy.artifacts import Scales
from se_deploy.errors import GraphError, ImageError, QuantError
from se_deploy.graph.read import read
from se_deploy.quant import sensitivity
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from se_deploy.stages.merge import merge
from se_deploy.stages.steps.repaired import prepared
from tests.quant import small
from tests.quant.running import run
from tests.stages import exports

SPREAD = np.where(np.arange(small.C) == 5, 800, 1).astype(np.float32)


def imbalanced(act: str = "Relu", opset: int = 17) -> ModelProto:
    """The small network with its depthwise convolution behind an activation of its own, of whose channels one is 800 times the others."""
    model = small.network(opset=opset)
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "dw")
    values = small.Weights(7)
    extra = [
        helper.make_node("Conv", ["relu0", *values.conv("wide", small.C, small.C, 1)], ["wide_out"], "wide"),
        helper.make_node(act, ["wide_out"], ["spread"], "act"),
    ]
    values.tensors["wide.weight"] *= SPREAD.reshape(-1, 1, 1, 1)
    values.tensors["wide.bias"] *= SPREAD
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.tensors.items())
    dw = model.graph.node[at]
    dw.input[0] = "spread"
    small.replace(model, "dw.weight", small.weight(model, "dw.weight") / SPREAD.reshape(-1, 1, 1, 1))
    for offset, node in enumerate(extra):
        model.graph.node.insert(at + offset, node)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("calib"), 80)


def scales_of(path: Path) -> Scales:
    return artifacts.read(Scales, path)


def sqnr(model: ModelProto, quantized: ModelProto, folder: Path) -> float:
    pixels = exports.batch(exports.pictures(folder / "other", 48), 48)
    return sensitivity.sqnr_db(run(model, pixels)[0], run(quantized, pixels)[0])


def engine(model: Path, scales: Path, backend: str, name: str) -> ModelProto:
    return onnx.load(build(model, int8=True, scales=scales, backend=backend, output=model / name).output)


@pytest.mark.parametrize(
    ("act", "folded", "backend"),
    [("Relu", True, "onnxruntime"), ("Relu", True, "openvino"), ("HardSwish", False, "openvino"), ("HardSwish", False, "onnxruntime")],
)
def test_planted_channels_are_mended(act: str, folded: bool, backend: str, pictures: Path, tmp_path: Path) -> None:
    plain = imbalanced(act)
    model = exports.directory(tmp_path, plain)
    result = calibrate(model, calib=pictures, output=tmp_path / "s.json")
    table = scales_of(result.output)
    assert table.repairs is not None
    assert (table.images, table.repairs.images) == (70, 10)
    first = table.repairs.tried[0]
    assert (first.repair, first.taken, set(table.repairs.factors)) == ("depthwise", True, {"spread"})
    assert first.with_db - first.without_db > 6
    assert f"repair depthwise: on, {first.without_db:.1f} -> {first.with_db:.1f} dB on 10 images kept apart" in result.notes
    factors = np.array(table.repairs.factors["spread"])
    assert factors.max() / factors.min() > 100
    off = tmp_path / "off.json"
    artifacts.write(table.model_copy(update={"repairs": None}), off)
    without, mended = (engine(model, path, backend, f"{path.stem}.onnx") for path in (off, result.output))
    assert sqnr(plain, mended, tmp_path) > sqnr(plain, without, tmp_path) + 6
    assert [node.op_type for node in mended.graph.node if node.name.endswith("/equalised")] == ([] if folded else ["Mul"])
    assert ("wide_out" in table.repairs.outputs) == (not folded)


def test_what_does_not_help_is_off(pictures: Path, tmp_path: Path) -> None:
    """Its channels are alike already."""
    model = imbalanced("HardSwish")
    for name, factor in (("wide.weight", 1 / SPREAD), ("wide.bias", 1 / SPREAD), ("dw.weight", SPREAD)):
        value = small.weight(model, name)
        small.replace(model, name, value * factor.reshape(-1, *[1] * (value.ndim - 1)))
    table = scales_of(calibrate(exports.directory(tmp_path, model), calib=pictures, output=tmp_path / "s.json").output)
    assert table.repairs is not None
    assert [(one.repair, one.taken) for one in table.repairs.tried if one.repair == "depthwise"] == [("depthwise", False)]
    assert "spread" not in table.repairs.factors


def test_none_measures_every_image_and_leaves_the_graph_as_it_is(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced("HardSwish"))
    result = calibrate(model, calib=pictures, repairs="none", output=tmp_path / "s.json")
    table = scales_of(result.output)
    assert table.repairs is not None
    assert (table.images, table.repairs.images) == (80, 0)
    assert table.repairs.model_dump(include={"tried", "factors", "outputs", "shifted"}) == {
        "tried": (),
        "factors": {},
        "outputs": {},
        "shifted": (),
    }
    assert not [note for note in result.notes if "repair" in note]
    repaired = calibrate(model, calib=pictures, output=tmp_path / "repaired.json").output
    muls = [
        [n.op_type for n in engine(model, path, "onnxruntime", path.stem).graph.node].count("Mul") for path in (result.output, repaired)
    ]
    assert muls[0] < muls[1]
    with pytest.raises(QuantError, match=r"repairs are not 'some'; take auto or none"):
        calibrate(model, calib=pictures, repairs="some", output=tmp_path / "s.json")  # type: ignore[arg-type]


def test_shards_with_their_images_give_the_bytes_of_one_run(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    whole = calibrate(model, calib=pictures, output=tmp_path / "whole.json")
    files = [calibrate(model, calib=pictures, shard=f"{i}/3", output=tmp_path / f"{i}.safetensors").output for i in (1, 2, 3)]
    joined = merge(files[::-1], model=model, calib=pictures, output=tmp_path / "joined.json")
    assert joined.output.read_bytes() == whole.output.read_bytes()
    assert joined.notes == whole.notes


def test_shards_without_images_are_judged_by_their_histograms(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    whole = scales_of(calibrate(model, calib=pictures, output=tmp_path / "whole.json").output)
    files = [calibrate(model, calib=pictures, shard=f"{i}/2", output=tmp_path / f"{i}.safetensors").output for i in (1, 2)]
    result = merge(files, output=tmp_path / "joined.json")
    joined = scales_of(result.output)
    assert joined.repairs is not None
    assert (joined.repairs.images, joined.repairs.factors["spread"]) == (0, whole.repairs.factors["spread"])
    assert "repair depthwise: on, by the channels' ranges; no images were kept apart to judge it" in result.notes
    assert joined.tensors["spread/equalised"] == whole.tensors["spread/equalised"]


def test_merging_with_another_folder_is_refused(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    file = calibrate(model, calib=pictures, shard="1/1", output=tmp_path / "1.safetensors").output
    with pytest.raises(ImageError, match="10 of the 10 images that the shards kept apart are not under .*, first 004.png; name the folder"):
        merge([file], model=model, calib=tmp_path, output=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_merging_with_another_model_is_refused(pictures: Path, tmp_path: Path) -> None:
    model, other = exports.directory(tmp_path, imbalanced()), exports.directory(tmp_path, name="other")
    file = calibrate(model, calib=pictures, shard="1/1", output=tmp_path / "1.safetensors").output
    with pytest.raises(QuantError, match="the shards are of another graph than .*other/model.onnx; name the model"):
        merge([file], model=other, calib=pictures, output=tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()


def test_factors_are_written_so_that_the_graph_comes_out_the_same(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    file = calibrate(model, calib=pictures, output=tmp_path / "s.json").output
    content = json.loads(file.read_text())["repairs"]["factors"]
    assert len(content["spread"]) == small.C
    first, second = (prepared(read(model / "model.onnx"), scales_of(file)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("factors", [{"none": (1.0, 2.0)}, {"spread": (1.0,)}, {"spread": (0.0,) * small.C}])
def test_factors_that_do_not_fit_are_one_line(factors: dict, pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    table = scales_of(calibrate(model, calib=pictures, output=tmp_path / "s.json").output)
    assert table.repairs is not None
    artifacts.write(table.model_copy(update={"repairs": table.repairs.model_copy(update={"factors": factors})}), tmp_path / "s.json")
    with pytest.raises(GraphError, match="cannot be equalised; calibrate again"):
        build(model, int8=True, scales=tmp_path / "s.json", backend="onnxruntime")
    assert not (model / "engine.onnx").exists()


def test_a_file_without_repairs_is_still_read(pictures: Path, tmp_path: Path) -> None:
    """As earlier versions wrote them, without the key."""
    model = exports.directory(tmp_path)
    file = calibrate(model, calib=pictures, output=tmp_path / "s.json").output
    content = json.loads(file.read_text())
    del content["repairs"]
    file.write_text(json.dumps(content))
    assert scales_of(file).repairs is None
    built = engine(model, file, "onnxruntime", "old.onnx")
    assert not any("equalised" in name for node in built.graph.node for name in node.input)


def test_a_bound_is_judged_on_the_repaired_network(pictures: Path, tmp_path: Path) -> None:
    model = exports.directory(tmp_path, imbalanced())
    file = calibrate(model, calib=pictures, output=tmp_path / "s.json").output
    artifacts.write(scales_of(file).model_copy(update={"repairs": None}), tmp_path / "off.json")
    others = exports.pictures(tmp_path / "others", 60)
    figures = []
    for scales in (file, tmp_path / "off.json"):
        out = build(model, int8=True, scales=scales, min_agreement=50, data=others, output=model / f"{scales.stem}.onnx").output
        figures.append(exports.manifest_of(out).accuracy)
    assert figures[0].sqnr_db > figures[1].sqnr_db + 6
