"""What `bench` says beyond agreement: baselines, threads, tolerances, classes, embeddings."""

import shutil
from pathlib import Path

import onnx
import pytest
import torch

from se_deploy.errors import ArtifactError, BackendError, ImageError
from tests.stages.bench.running import quick


def test_baselines_are_timed_in_the_same_rounds(here: Path) -> None:
    shutil.copy("engines/small/plain.onnx", "other_name.onnx")
    report = quick(["engine.onnx", "weak_classifier.onnx"], baseline=["other_name.onnx", "engines/small/engine.onnx"], batch=[1, 2])
    assert len(report.runs) == 4
    for run in report.runs:
        assert [versus.name for versus in run.baselines] == ["other_name.onnx", "engines/small/engine.onnx"]
        for versus in run.baselines:
            assert versus.speedup.value == pytest.approx(versus.latency_ms.mean / run.latency_ms.mean)
            assert versus.speedup.low <= versus.speedup.value <= versus.speedup.high
    assert report.runs[0].baselines[0].latency_ms == report.runs[2].baselines[0].latency_ms
    with pytest.raises(ArtifactError, match=r"no engine none\.onnx"):
        quick(baseline=["none.onnx"])
    text = "g (float[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y) { y = Relu(x) }"
    wrong = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    onnx.save(wrong, "wrong.onnx")
    with pytest.raises(BackendError, match=r"the baseline wrong\.onnx takes \['N', 3, 8, 8\], small takes \[\[8, 3, 32, 32\]\]"):
        quick(baseline=["wrong.onnx"])


def test_several_counts_of_threads_are_measured_one_after_the_other(here: Path) -> None:
    before = torch.get_num_threads()
    report = quick(threads=[1, 2])
    assert [(run.batch, run.threads) for run in report.runs] == [(1, 1), (1, 2)]
    assert [(beside.batch, beside.threads) for beside in report.reference.batches] == [(1, 1), (1, 2)]
    assert report.runs[0].accuracy == report.runs[1].accuracy
    assert torch.get_num_threads() == before


def test_a_tolerance_that_an_engine_passes_fails_the_report(here: Path) -> None:
    assert quick(atol=["1e-3"]).passed
    report = quick(["engine.onnx", "weak_classifier.onnx"], atol=["logits:1e-3"], rtol=["1e-3"])
    assert len(report.failures) == 1
    assert "weak_classifier.onnx at batch 1: 10 % of output logits is beyond rtol 0.001 and atol 0.001" in report.failures[0]
    (output,) = report.runs[1].accuracy.outputs
    assert output.tolerance is not None
    assert output.tolerance.beyond_percent == pytest.approx(10)
    with pytest.raises(ArtifactError, match="the network has no output y; its outputs are logits"):
        quick(atol=["y:1"])


def test_what_a_changed_weight_costs_is_told_by_class_and_by_a_paired_test(here: Path, imgs: Path) -> None:
    accuracy = quick("weak_classifier.onnx", data=imgs).runs[0].accuracy
    assert accuracy.paired is not None
    assert accuracy.top1 is not None
    assert accuracy.top1_reference is not None
    lost = accuracy.top1_reference.value - accuracy.top1.value
    assert accuracy.paired.drop.value == pytest.approx(lost)
    assert accuracy.paired.drop.low <= lost <= accuracy.paired.drop.high
    assert sum(found.drop * found.images for found in accuracy.classes) / 30 == pytest.approx(lost)
    assert {found.name for found in accuracy.classes} == set("0123456789")
    assert all((imgs / image.name).is_file() for image in accuracy.worst)
    assert accuracy.worst[0].error == max(image.error or 0 for image in accuracy.worst)


def test_embeddings_are_judged_by_pairs(here: Path, imgs: Path) -> None:
    names = sorted(str(path.relative_to(imgs)) for path in imgs.rglob("*.png"))[:12]
    lines = [f"{a},{b},{int(a[0] == b[0])}" for i, a in enumerate(names) for b in names[i + 1 :]]
    (imgs / "pairs.csv").write_text("\n".join(lines))
    report = quick(pairs=imgs / "pairs.csv")
    accuracy = report.runs[0].accuracy
    assert (accuracy.images, accuracy.agreement) == (12, None)
    assert accuracy.verification is not None
    assert accuracy.verification.pairs == len(lines) == 66
    assert accuracy.verification.accuracy == accuracy.verification.accuracy_reference
    assert quick(data=imgs, embeddings=True).runs[0].accuracy.images == 30
    with pytest.raises(ImageError, match="--labels and --pairs exclude each other"):
        quick(pairs=imgs / "pairs.csv", labels=imgs / "pairs.csv")
    with pytest.raises(ImageError, match="--labels and --embeddings exclude each other"):
        quick(embeddings=True, labels=imgs / "pairs.csv")
