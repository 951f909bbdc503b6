"""An export in, an engine with its manifest out; what contradicts is refused, what is killed leaves the old engine."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from se_deploy import __version__, artifacts, backends, op
from se_deploy.artifacts import ModelManifest, Preprocess, Scales
from se_deploy.errors import ArtifactError, BackendError, Contradiction, ImageError, QuantError
from se_deploy.files import sha256
from se_deploy.stages.build import build
from se_deploy.stages.calibrate import calibrate
from tests.quant import small
from tests.quant.running import run, sqnr
from tests.stages import exports
from tests.stages.exports import manifest_of

#: What a build in INT8 ends with on a CPU, at the batch that it is tuned for.
PACES = re.compile(
    r"INT8 is (slower|faster|not shown to be faster) than FP32 on this machine: "
    r"\S+ against \S+ ms at batch 8, [\d.]+ \[[\d.]+, [\d.]+\] times"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("imgs"), 40)


@pytest.fixture
def scales(model: Path, pictures: Path, tmp_path: Path) -> Path:
    return calibrate(model, calib=pictures, output=tmp_path / "scales.json").output


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return exports.batch(exports.pictures(tmp_path_factory.mktemp("held_out"), 24), 24)


def answers(engine: Path, images: np.ndarray) -> np.ndarray:
    with backends.get("onnxruntime").open(engine, threads=1) as runner:
        return runner.run({"x": images})["y"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision_answers_as_the_model_does(precision: str, model: Path, pictures: Path, held_out: np.ndarray) -> None:
    options = {"calib": pictures} if precision == "int8" else {}
    result = build(model, **{precision: True}, **options)
    engine = model / "engine.onnx"
    assert (result.output, result.manifest) == (engine, model / "engine.onnx.json")
    assert (result.backend, result.precision, result.se_blocks, result.plugin_layers) == ("onnxruntime", precision, 2, None)
    assert result.images == (35 if precision == "int8" else None)
    built = onnx.load(engine)
    onnx.checker.check_model(built, full_check=True)
    assert sum(op.variant_of(node) is not None for node in built.graph.node) == 2
    (reference,) = run(small.network(), held_out)
    got = answers(engine, held_out)
    assert got.dtype == np.float32
    assert sqnr(reference, got) > {"fp32": 100, "fp16": 50, "int8": 25}[precision]


def test_the_default_is_fp32_on_onnx_runtime(model: Path) -> None:
    result = build(model)
    assert (result.backend, result.precision) == ("onnxruntime", "fp32")
    assert (model / "engine.onnx").read_bytes() == (model / "model.onnx").read_bytes()


def test_types_are_in_the_file(model: Path, pictures: Path) -> None:
    build(model, fp16=True, output=model / "half.onnx")
    build(model, int8=True, calib=pictures, output=model / "int8.onnx")
    half, quantized = onnx.load(model / "half.onnx"), onnx.load(model / "int8.onnx")
    kinds = {t.name: t.data_type for t in half.graph.initializer}
    assert kinds["dw.weight"] == TensorProto.FLOAT16
    assert kinds["se.w1"] == TensorProto.FLOAT
    assert sum(node.op_type == "QuantizeLinear" for node in quantized.graph.node) == len(small.BOTH_SIDES)
    for m in (half, quantized):
        assert [i.type.tensor_type.elem_type for i in (*m.graph.input, *m.graph.output)] == [TensorProto.FLOAT] * 2


def test_the_manifest_is_the_contract(model: Path, pictures: Path) -> None:
    build(model, int8=True, calib=pictures)
    raw = json.loads((model / "engine.onnx.json").read_text())
    source = artifacts.read(ModelManifest, model / "manifest.json")
    assert set(raw) == {
        "format", "name", "backend", "precision", "engine", "model", "source", "scales", "plugin", "versions", "targets", "inputs",
        "outputs", "preprocess", "labels", "se_blocks", "accuracy",
    }  # fmt: skip
    made = manifest_of(model / "engine.onnx")
    assert (made.name, made.backend, made.precision, made.se_blocks) == ("small", "onnxruntime", "int8", 2)
    assert (made.inputs, made.outputs, made.preprocess, made.labels) == (source.inputs, source.outputs, source.preprocess, source.labels)
    assert made.source == source.source
    assert made.versions["se-deploy"] == __version__
    assert {"onnx", "onnxruntime"} <= set(made.versions)
    for reference in (made.engine, made.model, made.scales):
        assert reference is not None
        assert sha256(model / reference.file) == reference.sha256
    assert str(model.parent) not in json.dumps(raw)


def test_int8_leaves_the_scales_beside_the_engine(model: Path, pictures: Path) -> None:
    build(model, int8=True, calib=pictures)
    table = artifacts.read(Scales, model / "engine.onnx.scales.json")
    assert table.images == 35
    build(model, int8=True, scales=model / "engine.onnx.scales.json", output=model / "again.onnx")
    assert (model / "again.onnx").read_bytes() == (model / "engine.onnx").read_bytes()


def test_an_engine_elsewhere_says_where_its_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = exports.directory(Path("engines"))
    build(output="out/deep/e.onnx")
    assert manifest_of(Path("out/deep/e.onnx")).model.file == "../../engines/small/model.onnx"
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    build(tmp_path / model, output=tmp_path / "e.onnx")
    assert manifest_of(tmp_path / "e.onnx").model.file == "model.onnx"  # not a path outside the working directory


def test_a_bare_name_goes_to_the_working_directory(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert build(model, output="e.onnx").output == Path("e.onnx")
    assert sorted(os.listdir()) == ["e.onnx", "e.onnx.json"]


def test_notes_say_which_model_and_which_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exports.directory(Path("engines"))
    exports.pictures(tmp_path / "imgs", 3)
    (tmp_path / "imgs" / "bad.png").touch()
    result = build(int8=True, calib="imgs")
    assert result.notes[:-1] == (
        "taking the newest export, engines/small",
        "calibrated on 3 image(s), fewer than 32: ranges may be too narrow",
        "skipped 1 of 4 images: bad.png is not a readable image",
    )
    assert PACES.fullmatch(result.notes[-1])


# What contradicts


def test_int8_is_never_made_from_random_data(model: Path) -> None:
    with pytest.raises(QuantError, match="INT8 needs scales, and they are never made from random data; add --calib DIR"):
        build(model, int8=True)
    assert not (model / "engine.onnx").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fp32": True, "int8": True}, "fp32 and int8 exclude each other"),
        ({"fp32": True, "fp16": True, "int8": True}, "fp32 and fp16 and int8"),
        ({"calib": "imgs"}, "are for int8"),
        ({"fp32": True, "scales": "s.json"}, "are for int8 and fp16"),
        ({"int8": True, "calib": "imgs", "scales": "s.json"}, "calib and scales exclude"),
    ],
)
def test_contradicting_arguments(options: dict, said: str, model: Path) -> None:
    with pytest.raises(Contradiction, match=said):
        build(model, **options)


def test_stale_scales_are_refused(model: Path, scales: Path, tmp_path: Path) -> None:
    """CASES.md: scales of an older checkpoint used for a newer one."""
    newer = exports.directory(tmp_path / "new", small.network(seed=1))
    old, new = sha256(model / "model.onnx")[:12], sha256(newer / "model.onnx")[:12]
    with pytest.raises(QuantError, match=f"scales.json holds scales of the graph {old}, the model is {new}; run `se-deploy calibrate`"):
        build(newer, int8=True, scales=scales)


def test_scales_of_another_preprocessing_are_refused(scales: Path, tmp_path: Path) -> None:
    other = exports.directory(tmp_path / "bgr", how=exports.HOW.model_copy(update={"color": "BGR"}))
    with pytest.raises(QuantError, match="measured on images with color=RGB, the model takes color=BGR"):
        build(other, int8=True, scales=scales)


def test_a_scale_file_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantError, match="cannot read .*none.json: No such file"):
        build(model, int8=True, scales=tmp_path / "none.json")
    with pytest.raises(QuantError, match="manifest.json: graph: Field required"):
        build(model, int8=True, scales=model / "manifest.json")


def test_no_usable_image_leaves_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").touch()
    before = sorted(os.listdir(model))
    with pytest.raises(ImageError, match="none of the 1 images"):
        build(model, int8=True, calib=tmp_path / "bad")
    assert sorted(os.listdir(model)) == before


def test_channels_that_contradict_are_refused(tmp_path: Path, pictures: Path) -> None:
    how = Preprocess(resize=36, crop=32, color="L", mean=(0.5,), std=(0.5,))
    with pytest.raises(ImageError, match=r"gives 1 channel\(s\) \(L\), the network takes 3"):
        build(exports.directory(tmp_path, how=how), int8=True, calib=pictures)


def test_an_unknown_backend_is_refused(model: Path) -> None:
    with pytest.raises(BackendError, match="no backend is called 'coreml'; take auto or one of tensorrt, "):
        build(model, backend="coreml")


def test_an_engine_that_does_not_answer_finitely_gets_no_name(tmp_path: Path) -> None:
    network = small.network()
    small.replace(network, "fc.bias", np.full(small.CLASSES, np.inf, np.float32))
    model = exports.directory(tmp_path, network)
    before = sorted(os.listdir(model))
    with pytest.raises(BackendError, match="the fp32 engine's output y is not finite; build in another precision"):
        build(model)
    assert sorted(os.listdir(model)) == before


def test_a_changed_model_is_refused(model: Path) -> None:
    onnx.save(small.network(seed=1), model / "model.onnx")
    with pytest.raises(ArtifactError, match="model.onnx has changed since"):
        build(model)


# OpenVINO


def test_int8_for_openvino_has_the_signed_placement_of_tensorrt(model: Path, pictures: Path) -> None:
    result = build(model, int8=True, calib=pictures, backend="openvino")
    engine = onnx.load(result.output)
    made = manifest_of(result.output)
    assert (made.backend, made.precision, made.plugin, made.versions["openvino"].count(".")) == ("openvino", "int8", None, 2)
    kinds = {t.name: t.data_type for t in engine.graph.initializer}
    pairs = [node for node in engine.graph.node if node.op_type == "QuantizeLinear"]
    assert [node.input[0].split("/")[0] for node in pairs] == list(small.LEAN)  # repairs rename what they change
    assert {kinds[node.input[2]] for node in pairs} == {onnx.TensorProto.INT8}
    images = exports.batch(pictures, 16)
    with backends.get("openvino").open(result.output, threads=1) as runner:
        assert sqnr(run(small.network(), images)[0], runner.run({"x": images})["y"]) > 15
    assert PACES.fullmatch(result.notes[-1])
    assert not [path for path in model.iterdir() if path.is_dir()]


# Shapes


def test_shapes_are_recorded_and_tried(model: Path) -> None:
    build(model, shapes=["x:1,4,16"])
    (spec,) = manifest_of(model / "engine.onnx").inputs
    assert (spec.min, spec.opt, spec.max) == ((1, 3, 32, 32), (4, 3, 32, 32), (16, 3, 32, 32))


# The name


def test_the_same_kind_of_engine_is_built_again(model: Path) -> None:
    build(model)
    first = manifest_of(model / "engine.onnx")
    build(model, shapes=["x:1,2,3"])
    assert manifest_of(model / "engine.onnx") != first


def test_another_precision_is_not_overwritten_without_force(model: Path, pictures: Path) -> None:
    build(model, int8=True, calib=pictures)
    kept = (model / "engine.onnx").read_bytes()
    with pytest.raises(ArtifactError, match="engine.onnx is an engine of onnxruntime in int8, this one is of onnxruntime in fp16; add --f"):
        build(model, fp16=True)
    assert (model / "engine.onnx").read_bytes() == kept
    build(model, fp16=True, force=True)
    assert manifest_of(model / "engine.onnx").precision == "fp16"


def test_another_backends_engine_is_not_overwritten(model: Path) -> None:
    build(model)
    manifest = model / "engine.onnx.json"
    manifest.write_text(manifest.read_text().replace('"backend": "onnxruntime"', '"backend": "openvino"'))
    with pytest.raises(ArtifactError, match="is an engine of openvino in fp32"):
        build(model)


def test_a_file_without_a_manifest_is_not_overwritten(model: Path) -> None:
    (model / "engine.onnx").write_text("someone's")
    with pytest.raises(ArtifactError, match="engine.onnx is there already, without a manifest; add --force"):
        build(model)
    build(model, force=True)
    assert manifest_of(model / "engine.onnx").precision == "fp32"


@pytest.mark.parametrize("name", ["model.onnx", "plain.onnx", "manifest.json", "."])
def test_the_export_itself_is_never_overwritten(name: str, model: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(ArtifactError, match="is part of the exported model|is a folder"):
        build(model, output=model / name, force=True)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_scales_of_an_int8_engine_go_with_it(model: Path, pictures: Path) -> None:
    build(model, int8=True, calib=pictures)
    build(model, fp32=True, force=True)
    assert manifest_of(model / "engine.onnx").scales is None
    assert not (model / "engine.onnx.scales.json").exists()


# Weights outside the file


def test_external_weights_come_along(tmp_path: Path, pictures: Path, held_out: np.ndarray) -> None:
    model = exports.directory(tmp_path)
    onnx.save_model(small.network(), model / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace(sha256(model / "plain.onnx"), sha256(model / "model.onnx"), 1))
    for precision, options in (("fp32", {}), ("fp16", {}), ("int8", {"calib": pictures})):
        build(model, **{precision: True}, **options, output=tmp_path / precision / "e.onnx")
    for file in model.glob("model.onnx*"):
        file.unlink()
    assert sorted(os.listdir(tmp_path / "fp32")) == ["e.onnx", "e.onnx.data", "e.onnx.json"]
    (reference,) = run(small.network(), held_out)
    for precision in ("fp32", "fp16", "int8"):
        assert sqnr(reference, answers(tmp_path / precision / "e.onnx", held_out)) > 25


def test_models_of_another_folder_move_freely(model: Path, tmp_path: Path, scales: Path) -> None:
    """Scales know graphs, not places."""
    shutil.move(model, tmp_path / "moved")
    assert build(tmp_path / "moved", int8=True, scales=scales).images == 35


def test_a_quantized_source_is_refused_before_its_images_are_read(tmp_path: Path, model: Path, pictures: Path, scales: Path) -> None:
    build(model, int8=True, scales=scales)
    again = exports.directory(tmp_path / "again", ModelProto.FromString((model / "engine.onnx").read_bytes()))
    steps: list[str] = []
    with pytest.raises(QuantError, match="the graph is quantized already"):
        build(again, int8=True, calib=pictures, progress=lambda what, *_: steps.append(what))
    assert steps == []
