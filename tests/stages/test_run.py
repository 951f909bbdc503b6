"""`run` on a real network: every stage from one file, and nothing twice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from se_deploy.errors import ArtifactError, SeDeployError
from se_deploy.stages.run import RunReport, run
from se_deploy.verify import latency
from tests.stages.exports import pictures
from tests.verify import built

RECIPE = """
model: engines/net
export:
  source: small.onnx
calibrate:
  calib: imgs
build:
  shapes: ["input:1,4,16"]
matrix:
  precisions: [fp32, int8]
  batches: [1, 2]
bench:
  data: imgs
  warmup: 0
  duration: 0.02
  threads: 1
  html: report.html
"""
STEPS = ["export", "calibrate", "build onnxruntime-fp32", "build onnxruntime-int8", "bench"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, images and a recipe that was run once; treat as read-only."""
    root = tmp_path_factory.mktemp("run")
    shutil.copy(built.model(root / "m") / "plain.onnx", root / "small.onnx")
    pictures(root / "imgs", 12)
    (root / "r.yaml").write_text(RECIPE)
    before = Path.cwd()
    os.chdir(root)
    run("r.yaml")
    os.chdir(before)
    return root


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the working directory."""
    monkeypatch.setattr(latency, "REST", 0.0)
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def done(report: RunReport) -> list[str]:
    assert [step.name for step in report.steps] == STEPS
    return [step.name for step in report.steps if step.status != "unchanged"]


def test_one_file_does_every_stage_and_nothing_twice(here: Path) -> None:
    report = run("r.yaml")
    assert done(report) == []
    assert all(step.why == "same inputs, same outputs" and step.seconds is None for step in report.steps)
    assert report.bench is not None
    assert report.passed
    assert [(Path(r.engine).name, r.precision, r.batch) for r in report.bench.runs] == [
        (f"onnxruntime-{precision}.onnx", precision, batch) for precision in ("fp32", "int8") for batch in (1, 2)
    ]
    manifest = json.loads(Path("engines/net/onnxruntime-int8.onnx.json").read_text())
    assert manifest["inputs"][0]["max"][0] == 16
    assert "runs.3.latency_ms.p50" in Path("report.html").read_text()
    assert run("r.yaml") == report


@pytest.mark.parametrize(
    ("change", "again", "why"),
    [
        ("rm engines/net/scales.json", ["calibrate"], "engines/net/scales.json is missing"),
        ("rm imgs/003.png", ["calibrate", "build onnxruntime-int8", "bench"], "its inputs have changed"),
        ("sed -i 's/duration: 0.02/duration: 0.03/' r.yaml", ["bench"], "its inputs have changed"),
        ("sed -i 's/1,4,16/1,4,8/' r.yaml", ["build onnxruntime-fp32", "build onnxruntime-int8"], "its inputs have changed"),
        (
            "printf x >> engines/net/onnxruntime-fp32.onnx",
            ["build onnxruntime-fp32"],
            "engines/net/onnxruntime-fp32.onnx is not what it was",
        ),
        ("rm report.html", ["bench"], "report.html is missing"),
        ("sed -i 's/small.onnx/small.onnx\\n  preprocess: tf/' r.yaml", STEPS, "its inputs have changed"),
        ("rm engines/net/run.json", STEPS[1:], "not done yet"),
        ("printf junk > engines/net/run.json", STEPS[1:], "not done yet"),
    ],
)
def test_what_changed_is_done_again_with_what_hangs_on_it_and_the_rest_is_not(here: Path, change: str, again: list[str], why: str) -> None:
    assert os.system(change) == 0
    if "run.json" in change:  # the directory is nobody's that this run knows of: what is there is not overwritten unasked
        again = STEPS
    report = run("r.yaml", force=False)
    assert done(report) == again
    assert next(step.why for step in report.steps if step.name == again[0]) == why
    assert done(run("r.yaml")) == []


def test_a_bound_on_int8_is_for_its_cells_alone(here: Path) -> None:
    pictures(here / "others", 10)
    recipe = RECIPE.replace("build:\n", "build:\n  min_agreement: 0\n  data: others\n")
    (here / "r.yaml").write_text(recipe)
    assert done(run("r.yaml")) == ["build onnxruntime-int8"]
    assert json.loads((here / "engines/net/onnxruntime-int8.onnx.json").read_text())["accuracy"]["images"] == 10
    assert json.loads((here / "engines/net/onnxruntime-fp32.onnx.json").read_text())["accuracy"] is None


def test_the_calibration_images_show_what_fp16_cannot_hold(here: Path) -> None:
    (here / "r.yaml").write_text(RECIPE.replace("[fp32, int8]", "[fp32, fp16]"))
    report = run("r.yaml")
    assert [step.name for step in report.steps if step.status != "unchanged"] == ["build onnxruntime-fp16", "bench"]
    found = json.loads((here / "engines/net/onnxruntime-fp16.onnx.json").read_text())["accuracy"]
    assert (found["images"], found["in_fp32"]) == (12, [])
    os.unlink("imgs/003.png")
    assert "build onnxruntime-fp16" in [step.name for step in run("r.yaml").steps if step.status != "unchanged"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(here: Path) -> None:
    os.unlink("imgs/003.png")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    report = run("r.yaml", dry_run=True)
    assert [(step.name, step.status, step.why) for step in report.steps] == [
        ("export", "unchanged", "same inputs, same outputs"),
        ("calibrate", "run", "its inputs have changed"),
        ("build onnxruntime-fp32", "unchanged", "same inputs, same outputs"),
        ("build onnxruntime-int8", "after", "known after calibrate"),
        ("bench", "after", "known after build onnxruntime-int8"),
    ]
    assert report.bench is None
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    shutil.rmtree("engines")
    assert [step.status for step in run("r.yaml", dry_run=True).steps] == ["run", "after", "after", "after", "after"]
    assert not Path("engines").exists()


def test_force_does_everything_again(here: Path) -> None:
    report = run("r.yaml", force=True)
    assert done(report) == STEPS
    assert {step.why for step in report.steps} == {"--force"}


def test_the_export_of_something_else_is_not_overwritten(here: Path) -> None:
    shutil.copy("small.onnx", "other.onnx")
    Path("other.yaml").write_text("model: engines/net2\nexport:\n  source: other.onnx\n")
    shutil.copytree("engines/net", "engines/net2")
    Path("engines/net2/run.json").unlink()
    with pytest.raises(ArtifactError, match=r"engines/net2 holds the export of small\.onnx; add --force"):
        run("other.yaml")
    assert [step.status for step in run("other.yaml", force=True).steps] == ["done", "done"]


def test_a_limit_that_is_not_kept_fails_the_run_each_time(here: Path) -> None:
    Path("strict.yaml").write_text(RECIPE.replace("  html: report.html", "  max_p99: 0.000001"))
    assert not run("strict.yaml").passed
    ended = subprocess.run([sys.executable, "-m", "se_deploy", "run", "strict.yaml", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["passed"] is False
    assert [step["status"] for step in json.loads(line)["steps"]] == ["unchanged"] * 5
    assert "p99" in ended.stderr.splitlines()[-1]


def test_an_engine_is_packaged_once_and_only_after_a_bench_that_passed(here: Path) -> None:
    packaged = RECIPE + "package:\n  triton: models\n"
    Path("p.yaml").write_text(packaged)
    with pytest.raises(ArtifactError, match="the matrix has 2 engines, and `package` names none; add `engine:`, one of onnxruntime-fp32"):
        run("p.yaml", dry_run=True)
    Path("p.yaml").write_text(packaged + "  engine: onnxruntime-int4\n")
    with pytest.raises(ArtifactError, match="names the engine onnxruntime-int4, which is not in the matrix"):
        run("p.yaml", dry_run=True)
    Path("p.yaml").write_text(packaged.replace("threads: 1", "threads: 1\n  max_p99: 0.000001") + "  engine: onnxruntime-int8\n")
    refused = run("p.yaml")
    assert not refused.passed
    assert refused.notes[-1] == "nothing was packaged, for the bench did not pass"
    assert not Path("models").exists()
    Path("p.yaml").write_text(packaged + "  engine: onnxruntime-int8\n")
    assert [step.name for step in run("p.yaml").steps if step.status == "done"] == ["bench", "package"]
    assert list(Path("models").rglob("model.onnx"))
    assert [step.name for step in run("p.yaml").steps if step.status == "done"] == []
    os.unlink(next(Path("models").rglob("model.onnx")))
    again = run("p.yaml").steps[-1]
    assert (again.name, again.status, again.why) == ("package", "done", "models is not what it was")


def test_the_command_line_prints_steps_and_one_table(here: Path) -> None:
    words = [sys.executable, "-m", "se_deploy", "run"]
    ended = subprocess.run([*words, "r.yaml"], capture_output=True, text=True, check=True)
    assert sum("unchanged" in line for line in ended.stdout.splitlines()) == 5
    assert sum("onnxruntime-int8.onnx" in line and line.split()[1:3] == ["onnxruntime", "int8"] for line in ended.stdout.splitlines()) == 2
    assert list(json.loads(run("r.yaml", dry_run=True).model_dump_json())) == ["model", "steps", "bench", "passed"]
    Path("bad.yaml").write_text("export:\n  source: small.onnx\n  sauce: x\n")
    ended = subprocess.run([*words, "bad.yaml"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: bad.yaml, line 3: export.sauce: no such key; `export` takes ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_stage_that_fails_leaves_what_was_done_before_it(here: Path) -> None:
    Path("r.yaml").write_text(RECIPE.replace("data: imgs", "data: none"))
    with pytest.raises(SeDeployError, match="no folder none"):
        run("r.yaml")
    Path("r.yaml").write_text(RECIPE)
    assert done(run("r.yaml")) == []
