import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto
from PIL import Image

import se_deploy
from se_deploy.errors import ArtifactError, BackendError, CheckFailed, FoldError
from se_deploy.stages.steps import exported
from tests.quant import small
from tests.stages.exports import batch, directory, pictures


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images, their classes drawn: what the network makes of them is no one's truth."""
    folder, rng = tmp_path_factory.mktemp("imgs"), np.random.default_rng(1)
    for number in range(40):
        pixels = rng.standard_normal((36, 36, 3)) * rng.uniform(5, 60) + rng.uniform(40, 210, 3)
        (folder / str(number % 10)).mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / str(number % 10) / f"{number:02d}.png")
    return folder


def held(model: ModelProto, block: str, spread: float = 0.0, rows: slice = slice(None)) -> ModelProto:
    """The model with a block's gates (or some of them) constant but for `spread`."""
    w2, b2 = small.weight(model, f"{block}.w2").copy(), small.weight(model, f"{block}.b2").copy()
    w2[rows] *= np.float32(spread)
    b2[rows] = np.linspace(-1.5, 1.5, small.C)[rows]
    small.replace(model, f"{block}.w2", w2)
    small.replace(model, f"{block}.b2", b2)
    return model


def lively(model: ModelProto, block: str) -> ModelProto:
    """The model with a block whose gates vary much from image to image."""
    for name, factor in ((f"{block}.w1", 3), (f"{block}.w2", 3)):
        small.replace(model, name, small.weight(model, name) * np.float32(factor))
    return model


def scores(model: Path, folder: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.concatenate([batch(part, 4) for part in sorted(folder.iterdir())])})[0]


def test_a_constant_gate_goes_and_one_that_varies_stays(tmp_path: Path, images: Path) -> None:
    model = lively(held(small.network(), "se"), "se2")
    made = se_deploy.fold(directory(tmp_path, model), data=images, output=tmp_path / "out")
    first, second = made.report.blocks
    assert (first.state, first.where, second.state, second.where) == ("folded", "before", "varies", None)
    assert first.variation < 1e-6 < 0.1 < second.variation
    assert second.loss is None, "a gate that varies is not even tried"
    assert any("vary" in note and "se2" in note for note in made.notes)
    np.testing.assert_allclose(
        scores(tmp_path / "out" / "model.onnx", images), scores(tmp_path / "small" / "model.onnx", images), rtol=1e-4, atol=1e-5
    )
    report = se_deploy.inspect(tmp_path / "out")
    assert [block.name for block in report.blocks] == ["se2"]
    assert (made.se_blocks, made.images, made.report.score.agreement) == (1, 40, 100.0)
    before = se_deploy.inspect(tmp_path / "small")
    assert (made.report.params.before, made.report.params.after) == (before.params, report.params)
    assert (made.report.macs.before, made.report.macs.after) == (before.macs, report.macs)
    assert before.params - report.params == before.blocks[0].params


def test_the_result_is_a_model_directory_like_any_other(tmp_path: Path, images: Path) -> None:
    source = directory(tmp_path, lively(held(small.network(), "se"), "se2"))
    made = se_deploy.fold(source, data=images, output=tmp_path / "out")
    found = exported.find(tmp_path / "out")
    assert (found.manifest.name, found.manifest.se_blocks) == ("out", 1)
    assert found.manifest.preprocess == exported.find(source).manifest.preprocess
    assert made.manifest == tmp_path / "out" / "manifest.json"
    for name in ("model.onnx", "plain.onnx"):
        onnx.checker.check_model(onnx.load(tmp_path / "out" / name), full_check=True)
    np.testing.assert_allclose(scores(tmp_path / "out" / "plain.onnx", images), scores(tmp_path / "out" / "model.onnx", images), atol=1e-5)
    assert (tmp_path / "out" / "reference.npz").read_bytes() == (source / "reference.npz").read_bytes()
    assert json.loads((tmp_path / "out" / "fold.json").read_text()) == json.loads(made.report.model_dump_json())
    text = (tmp_path / "out" / "fold.html").read_text()
    assert json.loads(text.partition("id=report>")[2].partition("</script>")[0]) == json.loads(made.report.model_dump_json())
    assert any("no PyTorch network" in note for note in made.notes)
    engine = se_deploy.build(tmp_path / "out", fp32=True)
    assert engine.se_blocks == 1
    assert se_deploy.build(tmp_path / "out", int8=True, calib=images, force=True).precision == "int8"


def test_constant_channels_of_a_block_that_stays_are_folded(tmp_path: Path, images: Path) -> None:
    model = lively(held(small.network(), "se", rows=slice(0, 10)), "se2")
    w2 = small.weight(model, "se.w2").copy()
    w2[10:] *= 6
    small.replace(model, "se.w2", w2)
    made = se_deploy.fold(directory(tmp_path, model), data=images, output=tmp_path / "out", epsilon=0.05)
    assert made.se_blocks == 2
    [narrowed] = [c for c in made.report.channels if c.name == "se"]
    assert narrowed.folded >= 10
    np.testing.assert_allclose(
        scores(tmp_path / "out" / "model.onnx", images), scores(tmp_path / "small" / "model.onnx", images), rtol=1e-3, atol=1e-4
    )


def test_gates_that_all_vary_are_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(FoldError, match=r"no gate of small is constant within 0.1 .* the steadiest, se2, varies by 0.19"):
        se_deploy.fold(directory(tmp_path), data=images, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_block_that_costs_more_than_the_bound_stays(tmp_path: Path, images: Path) -> None:
    """Two gates vary by as much as epsilon allows; folding costs answers, and the bound allows none or all of it."""
    source = directory(tmp_path, held(held(small.network(), "se", 0.0), "se2", 1.5))
    loose = se_deploy.fold(source, data=images, output=tmp_path / "loose", epsilon=0.9, min_agreement=0)
    assert [block.state for block in loose.report.blocks] == ["folded", "folded"]
    assert loose.report.score.agreement < 100
    strict = se_deploy.fold(source, data=images, output=tmp_path / "strict", epsilon=0.9, min_agreement=100)
    assert [block.state for block in strict.report.blocks] == ["folded", "costs accuracy"]
    assert strict.report.score.agreement == 100
    steps = [(step.block, step.blocks_left, step.kept) for step in strict.report.curve]
    assert steps == [("se", 1, True), ("se2", 0, False)]
    assert strict.report.curve[1].score == loose.report.score


def test_nothing_to_fold_within_the_bound_is_a_check_that_failed(tmp_path: Path, images: Path) -> None:
    with pytest.raises(CheckFailed, match=r"no block can be folded with an agreement of at least 100 %.*\(se2?\): agreement [1-9]"):
        se_deploy.fold(directory(tmp_path), data=images, output=tmp_path / "out", epsilon=0.3, min_agreement=100)
    assert not (tmp_path / "out").exists()


def test_images_that_choose_do_not_judge(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_deploy.stages.steps import folding

    jobs = []
    inner = folding.folded
    monkeypatch.setattr(folding, "folded", lambda job: jobs.append(job) or inner(job))
    made = se_deploy.fold(directory(tmp_path, held(small.network(), "se")), data=images, output=tmp_path / "out", min_agreement=0)
    [job] = jobs
    assert not set(job.choosing.paths) & set(job.judging.paths)
    assert (made.report.images_choosing, made.report.score.images) == (20, 20)
    assert {path.parent.name for path in job.judging.paths} == {str(i) for i in range(10)}


def test_a_network_of_a_fixed_batch_folds(tmp_path: Path, images: Path) -> None:
    source = directory(tmp_path, lively(held(small.network(batch=3), "se"), "se2"))
    made = se_deploy.fold(source, data=images, output=tmp_path / "out", min_agreement=100)
    assert (made.se_blocks, made.report.score.images) == (1, 20)


def test_the_bound_without_class_folders_is_agreement(tmp_path: Path) -> None:
    source, flat = directory(tmp_path, lively(held(small.network(), "se"), "se2")), pictures(tmp_path / "flat", 24)
    made = se_deploy.fold(source, data=flat, output=tmp_path / "out")
    assert (made.report.max_drop, made.report.min_agreement, made.report.score.top1) == (None, 99.0, None)
    with pytest.raises(FoldError, match="no class folders"):
        se_deploy.fold(source, data=flat, output=tmp_path / "out2", max_drop=1)


def test_what_cannot_be_judged_or_written_is_refused(tmp_path: Path, images: Path) -> None:
    source = directory(tmp_path, held(small.network(), "se"))
    with pytest.raises(ArtifactError, match="overwrite its own source"):
        se_deploy.fold(source, data=images, output=source)
    with pytest.raises(ArtifactError, match="holds a model already"):
        se_deploy.fold(source, data=images, output=directory(tmp_path, name="other"))
    with pytest.raises(FoldError, match="judge nothing"):
        se_deploy.fold(source, data=pictures(tmp_path / "few", 5), output=tmp_path / "out")
    with pytest.raises(FoldError, match="epsilon"):
        se_deploy.fold(source, data=images, output=tmp_path / "out", epsilon=2)
    with pytest.raises(BackendError, match="no device is known"):
        se_deploy.fold(source, data=images, output=tmp_path / "out", target="sm_1")
    assert not (tmp_path / "out").exists()
