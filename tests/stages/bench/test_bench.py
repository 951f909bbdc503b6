"""`bench` on a small network's real engines, sound and with planted faults."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from se_deploy import artifacts
from se_deploy.artifacts import FileRef, ModelManifest
from se_deploy.errors import ArtifactError, BackendError, CheckFailed, ImageError, SeDeployError
from se_deploy.images import find_images, preprocess
from se_deploy.stages.bench import bench
from tests.stages.bench.running import answers, inside, quick
from tests.verify import built

# --- accuracy ---


def test_on_the_exports_probes_a_sound_engine_agrees(here: Path) -> None:
    report = quick(batch=[1, 8])
    assert report.passed
    assert [run.batch for run in report.runs] == [1, 8]
    assert report.reference.kind == "pytorch"
    for run in report.runs:
        assert (run.engine, run.backend, run.precision) == ("engines/small/engine.onnx", "onnxruntime", "fp32")
        assert run.size_bytes == Path("engines/small/engine.onnx").stat().st_size
        assert run.accuracy.images == built.PROBES
        assert run.accuracy.agreement is not None
        assert run.accuracy.agreement.value == 100.0
        assert run.accuracy.agreement.low == pytest.approx(80.64, abs=0.01)
        assert run.accuracy.max_abs_error is not None
        assert 0 < run.accuracy.max_abs_error < 1e-4
        assert run.accuracy.cosine == pytest.approx(1, abs=1e-6)
        assert run.accuracy.top1 is None
    assert (
        report.notes[:2]
        == (
            "no engine.onnx here, taking engines/small/engine.onnx",
            "accuracy is on the 16 probe inputs of the export; real images tell more: --data DIR",
        )
        or "busy" in report.notes[1]
    )


def test_figures_are_those_of_a_plain_comparison(here: Path) -> None:
    recorded = np.load("engines/small/reference.npz")
    got, expected = answers(Path("engines/small/weak_classifier.onnx"), recorded["input.input"]), recorded["output.logits"]
    accuracy = quick("weak_classifier.onnx", batch=[3]).runs[0].accuracy
    agreed = 100 * (got.argmax(1) == expected.argmax(1)).mean()
    assert agreed < 100
    assert accuracy.agreement is not None
    assert accuracy.agreement.value == agreed
    assert accuracy.max_abs_error == pytest.approx(np.abs(got - expected).max(), rel=1e-3)


def test_a_changed_weight_fails_the_limit_on_agreement(here: Path) -> None:
    report = quick(["engine.onnx", "weak_classifier.onnx"], min_agreement=99)
    assert not report.passed
    (failure,) = report.failures
    agreement = report.runs[1].accuracy.agreement
    assert agreement is not None
    assert failure == f"engines/small/weak_classifier.onnx at batch 1: agreement {agreement.value:.2f} % is below 99 %"
    with pytest.raises(CheckFailed, match="weak_classifier") as failed:
        report.check()
    assert failed.value.exit_code == 3
    assert quick("weak_classifier.onnx", min_agreement=agreement.value).passed


def test_nan_is_named(here: Path) -> None:
    report = quick("nan_class.onnx")
    firsts = np.load("engines/small/reference.npz")["input.input"][:, 0, 0, 0] < 0
    assert 0 < firsts.sum() < 16
    assert report.failures == (
        f"engines/small/nan_class.onnx at batch 1: the engine's output logits holds NaN for {firsts.sum()} of 16 images, "
        f"first probe {firsts.argmax()}",
    )
    assert report.runs[0].accuracy.max_abs_error is None


@pytest.mark.parametrize("batch", [[1], [8]])
def test_an_engine_that_ignores_all_but_the_first_row_is_caught(here: Path, batch: list[int]) -> None:
    report = quick("first_row_for_all.onnx", batch=batch)
    assert not report.passed
    (failure,) = report.failures
    size = 8 if batch == [8] else 3
    assert failure.startswith("engines/small/first_row_for_all.onnx: row ")
    assert f" of a batch of {size} differing rows is " in failure
    assert " from what it gives alone (output logits, " in failure


def test_an_answer_of_one_row_is_caught(here: Path) -> None:
    with pytest.raises(CheckFailed, match=r"first_row_only\.onnx at batch 4: output logits has shape \(1, 10\) for a batch of 4"):
        quick("first_row_only.onnx", batch=[4])


def test_other_classes_are_caught(here: Path) -> None:
    with pytest.raises(CheckFailed, match=r"other_classes\.onnx at batch 1: output logits has shape \(16, 9\), the reference's \(16, 10\)"):
        quick("other_classes.onnx")


# --- images ---


def test_on_images_pytorch_answers_live(here: Path, imgs: Path) -> None:
    report = quick("weak_classifier.onnx", data=imgs)
    images = find_images(imgs)
    inputs = np.stack([preprocess(Image.open(path), built.HOW) for path in images.paths])
    labels = np.array([int(path.parent.name) for path in images.paths])
    got, expected = answers(Path("engines/small/weak_classifier.onnx"), inputs), answers(Path("engines/small/plain.onnx"), inputs)
    accuracy = report.runs[0].accuracy
    assert accuracy.images == 30
    shares = [accuracy.agreement, accuracy.top1, accuracy.top1_reference]
    plain = [got.argmax(1) == expected.argmax(1), got.argmax(1) == labels, expected.argmax(1) == labels]
    assert [share and round(share.value, 6) for share in shares] == [round(100 * hits.mean(), 6) for hits in plain]
    best5 = np.argsort(-got, axis=1)[:, :5]
    assert accuracy.top5 is not None
    assert accuracy.top5.value == pytest.approx(100 * (best5 == labels[:, None]).any(1).mean())


def test_pytorch_is_not_onnx_in_disguise(fresh: Path, imgs: Path) -> None:
    """The plain graph may be gone: the live answers are PyTorch's, from weights.safetensors alone."""
    (fresh / "engines/small/plain.onnx").unlink()
    report = quick(data=imgs)
    assert report.reference.kind == "pytorch"
    assert report.runs[0].accuracy.agreement is not None
    assert report.runs[0].accuracy.agreement.value == 100


def test_labels_of_the_manifest_name_the_folders(fresh: Path, imgs: Path) -> None:
    labels = tuple("9876543210")
    built.engine(fresh / "engines/small", labels=labels)
    accuracy = quick(data=imgs).runs[0].accuracy
    turned = quick("weak_classifier.onnx", data=imgs).runs[0].accuracy
    assert accuracy.top1_reference != turned.top1_reference
    (imgs_two := fresh / "two").mkdir()
    shutil.copytree(imgs / "3", imgs_two / "3")
    shutil.copytree(imgs / "4", imgs_two / "4")
    assert quick(data=imgs_two).runs[0].accuracy.images == 6
    with pytest.raises(ImageError, match="has 2 class folders, the network has 10 classes and no labels"):
        quick("weak_classifier.onnx", data=imgs_two)


def test_images_without_class_folders_have_no_top1_and_bad_ones_are_named(here: Path, imgs: Path, tmp_path: Path) -> None:
    for path in sorted(imgs.rglob("*.png"))[:5]:
        shutil.copy(path, tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no")
    report = quick(data=tmp_path)
    assert report.runs[0].accuracy.images == 5
    assert report.runs[0].accuracy.top1 is None
    assert report.notes[-2:] == (
        f"{tmp_path} has no class folders, so there is no top-1; --labels CSV names the classes",
        "skipped 1 of 6 images that cannot be used: bad.png",
    )


def test_a_csv_names_the_images_and_their_classes(here: Path, imgs: Path, tmp_path: Path) -> None:
    lines = [f"{path.relative_to(imgs)},{path.parent.name}" for path in sorted(imgs.rglob("*.png"))]
    (tmp_path / "some.csv").write_text("\n".join(lines[:12]))
    (imgs / "all.csv").write_text("file,class\n" + "\n".join(lines))
    some = quick(data=imgs, labels=tmp_path / "some.csv")
    assert some.runs[0].accuracy.images == 12
    assert some.notes[-1] == f"18 images under {imgs} are not in {tmp_path / 'some.csv'} and are not used"
    assert quick(labels=imgs / "all.csv").runs[0].accuracy == quick(data=imgs).runs[0].accuracy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preprocess": built.HOW.model_copy(update={"color": "L", "mean": (0.5,), "std": (0.5,)})}, r"gives 1 channel\(s\) \(L\)"),
        ({"preprocess": built.HOW.model_copy(update={"crop": 24})}, "is 3x24x24 after preprocessing, 3x32x32 is wanted"),
    ],
)
def test_preprocessing_that_contradicts_the_network_is_refused(fresh: Path, imgs: Path, change: dict, message: str) -> None:
    built.engine(fresh / "engines/small", **change)
    with pytest.raises(ImageError, match=message):
        quick(data=imgs)


# --- latency ---


def test_latency_is_measured_in_turns_on_as_many_threads(here: Path) -> None:
    before = torch.get_num_threads()
    steps: list[str] = []
    report = quick(batch=[1, 4], duration=0.3, progress=lambda what, *_: steps.append(what))
    assert (torch.get_num_threads(), report.threads) == (before, (1,))
    for run in report.runs:
        times = run.latency_ms
        assert 0 < times.min <= times.p50 <= times.p90 <= times.p95 <= times.p99
        assert times.n >= 3
        assert run.throughput == pytest.approx(1000 * run.batch / times.mean)
        assert run.speedup.low <= run.speedup.value <= run.speedup.high
        assert run.device_latency_ms is None
    first = report.runs[0]
    assert first.speedup.value == pytest.approx(report.reference.latency_ms.mean / first.latency_ms.mean)
    assert list(dict.fromkeys(steps)) == ["compare answers", "measure latency at batch 1", "measure latency at batch 4"]


def test_a_limit_on_p99(here: Path) -> None:
    report = quick(max_p99=1e-6)
    assert report.failures == (f"engines/small/engine.onnx at batch 1: p99 {report.runs[0].latency_ms.p99:.3g} ms is above 1e-06 ms",)
    assert quick(max_p99=1e6).passed


# --- finding what belongs together ---


def test_left_out_the_newest_engine_is_taken_and_said(fresh: Path) -> None:
    os.utime("engines/small/weak_classifier.onnx", (2e9, 2e9))
    report = quick(None)
    assert report.runs[0].engine == "engines/small/weak_classifier.onnx"
    assert report.notes[0] == "taking the newest engine, engines/small/weak_classifier.onnx"


def test_a_name_is_looked_for_under_engines_and_the_newest_taken(fresh: Path) -> None:
    shutil.copytree("engines/small", "engines/other")
    os.utime("engines/other/engine.onnx", (2e9, 2e9))
    assert quick().runs[0].engine == "engines/other/engine.onnx"
    shutil.copy("engines/small/engine.onnx", "engine.onnx")
    shutil.copy("engines/small/engine.onnx.json", "engine.onnx.json")
    report = quick()
    assert report.runs[0].engine == "engine.onnx"
    assert report.reference.kind == "pytorch"


def test_a_plan_that_is_not_there_names_the_other_backends_engine(here: Path) -> None:
    with pytest.raises(BackendError) as error:
        quick("engine.plan")
    assert str(error.value) == (
        "there is no engine.plan, only an engine for ONNX Runtime, engines/small/engine.onnx; "
        "run `se-deploy bench engines/small/engine.onnx`"
    )


def test_a_plan_needs_its_backend(fresh: Path) -> None:
    shutil.move("engines/small/engine.onnx", "engines/small/engine.plan")
    described = json.loads(Path("engines/small/engine.onnx.json").read_text())
    Path("engines/small/engine.plan.json").write_text(json.dumps({**described, "backend": "tensorrt"}))
    with pytest.raises(BackendError, match="tensorrt"):
        quick("engine.plan")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        ("rm engines/small/engine.onnx", "no engine engine.onnx; run `se-deploy build` first"),
        ("rm engines/small/engine.onnx.json; cp engines/small/engine.onnx .", r"engine\.onnx has no manifest engine\.onnx\.json beside it"),
        ("printf x >> engines/small/engine.onnx", "is not the file that .* describes: its SHA-256 differs; build it again"),
        ('sed -i \'s/"format": 1/"format": 9/\' engines/small/engine.onnx.json', r"engine\.onnx\.json: format: Input should be 1"),
        ("rm engines/small/manifest.json", "the export that .* was built from is neither beside it nor under engines/"),
        ("rm engines/small/reference.npz", r"reference\.npz is missing; export the model again"),
        ("printf x >> engines/small/weights.safetensors", r"weights\.safetensors is not what the manifest describes"),
        ("cp engines/small/reference.npz engines/small/weights.safetensors", r"weights\.safetensors is not what the manifest describes"),
    ],
)
def test_what_is_missing_or_changed_is_named(fresh: Path, break_it: str, message: str) -> None:
    assert os.system(break_it) == 0
    with pytest.raises(ArtifactError, match=message):
        quick()


def test_an_engine_of_an_older_export_is_refused(fresh: Path) -> None:
    manifest = artifacts.read(ModelManifest, Path("engines/small/manifest.json"))
    newer = manifest.model_copy(update={"model": FileRef(file="model.onnx", sha256="1" * 64)})
    artifacts.write(newer, Path("engines/small/manifest.json"))
    with pytest.raises(ArtifactError, match=r"was built from another model\.onnx than the one that lies beside it now; build it again"):
        quick()


def test_no_engine_at_all(tmp_path: Path) -> None:
    for folder in inside(tmp_path):
        with pytest.raises(ArtifactError, match="no engine under engines/; run `se-deploy build` first"):
            bench()
        (folder / "m.onnx").write_bytes(b"")
        with pytest.raises(ArtifactError, match=r"m\.onnx has no manifest"):
            bench("m.onnx")


def test_a_reference_that_answers_otherwise_than_recorded_is_refused(fresh: Path) -> None:
    """As when another version of a library builds another network from the same weights."""
    file = Path("engines/small/reference.npz")
    arrays = dict(np.load(file))
    arrays["output.logits"] = arrays["output.logits"] * 1.01
    np.savez(file, **arrays)
    manifest = artifacts.read(ModelManifest, Path("engines/small/manifest.json"))
    artifacts.write(manifest.model_copy(update={"reference": FileRef.of(file)}), Path("engines/small/manifest.json"))
    with pytest.raises(ArtifactError, match="does not answer what PyTorch answered at export: logits differs by 0.0"):
        quick()


# --- other references, other batches, several models ---


def test_without_pytorch_the_plain_graph_stands_in_and_it_is_said(tmp_path: Path, imgs: Path) -> None:
    for folder in inside(tmp_path):
        built.engine(built.model(folder / "engines" / "bare", pytorch=False))
        report = quick(data=imgs)
        assert report.reference.kind == "onnx"
        assert report.runs[0].accuracy.images == 30
        assert "bare has no PyTorch network, its source is an .onnx file: plain.onnx in FP32 stands in" in report.notes


@pytest.mark.parametrize("pytorch", [True, False])
def test_a_fixed_batch_is_kept(tmp_path: Path, imgs: Path, pytorch: bool) -> None:
    for folder in inside(tmp_path):
        model = built.model(folder / "engines" / "fixed", batch=4, pytorch=pytorch)
        built.engine(model)
        report = quick(data=imgs)
        assert [(run.batch, run.accuracy.images) for run in report.runs] == [(4, 30)]
        assert report.passed
        with pytest.raises(BackendError, match=r"does not run at batch 8: its batch is fixed at 4; take --batch 4"):
            quick(batch=[4, 8])
        built.engine(model, built.first_row_for_all)
        (failure,) = quick().failures
        assert "of a batch of 4 differing rows" in failure
        assert "from what it gives at another place of the batch" in failure


def test_a_batch_has_a_row(here: Path) -> None:
    with pytest.raises(BackendError, match="does not run at batch 0: a batch has at least one row; take --batch 1"):
        quick(batch=[0])


def test_engines_of_two_exports_have_each_its_own_reference(fresh: Path) -> None:
    built.engine(built.model(fresh / "engines" / "bare", pytorch=False), name="b.onnx")
    report = quick(["b.onnx", "engine.onnx"])
    assert [run.engine for run in report.runs] == ["engines/bare/b.onnx", "engines/small/engine.onnx"]
    assert report.reference.kind == "onnx"
    assert "the engines are of several exports, each against its own reference; `reference` has the first one's latency" in report.notes
    assert report.passed


# --- the contract ---


def test_json_has_the_contracts_keys_and_the_evidences(here: Path, imgs: Path) -> None:
    report = json.loads(quick(data=imgs).model_dump_json())
    times = {"min", "mean", "p50", "p90", "p95", "p99", "n"}
    assert set(report) == {"runs", "reference", "passed", "included", "preprocess_ms"}
    assert set(report["reference"]) == {"kind", "latency_ms", "batches"}
    (run,) = report["runs"]
    assert set(run) == {
        "engine", "backend", "precision", "device", "batch", "size_bytes",
        "accuracy", "latency_ms", "device_latency_ms", "throughput", "speedup",
        "threads", "warmup", "histogram_ms", "baselines", "gpu",
    }  # fmt: skip
    shares = {"agreement", "top1", "top5", "top1_reference", "agreement_decided"}
    evidence = {"outputs", "paired", "classes", "worst", "verification"}
    assert set(run["accuracy"]) == {"images", "max_abs_error", "cosine", "sqnr_db", "undecided", *shares, *evidence}
    for interval in (run["speedup"], run["accuracy"]["paired"]["drop"], *(run["accuracy"][share] for share in shares)):
        assert set(interval) == {"value", "low", "high"}
    assert set(run["latency_ms"]) == set(report["reference"]["latency_ms"]) == times
    assert run["device_latency_ms"] is None


def test_errors_are_the_users(here: Path) -> None:
    with pytest.raises(SeDeployError, match="no engine is named"):
        bench([])
