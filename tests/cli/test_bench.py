"""`se-deploy bench` as it is typed: what goes to stdout and stderr, and the exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify import built

FAST = ("--warmup", "0", "--duration", "0.02", "--threads", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    model = built.model(root / "engines" / "small")
    built.engine(model, built.weak_classifier, "weak.onnx")
    built.engine(model)
    return root


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "se_deploy", "bench", *words], cwd=folder, capture_output=True, text=True, check=False)


def test_a_table_on_stdout_and_remarks_on_stderr(folder: Path) -> None:
    done = run(folder, *FAST, "--batch", "1,3")
    assert done.returncode == 0, done.stderr
    for heading in ("engine", "backend", "precision", "batch", "size", "agreement", "top-1", "p50", "p99", "images/s", "speed-up"):
        assert heading in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if "engines/small/engine.onnx" in line and "onnxruntime" in line]
    assert [row[1:4] for row in rows] == [["onnxruntime", "fp32", "1"], ["onnxruntime", "fp32", "3"]]
    assert "100.00 % [80.64, 100.00]" in done.stdout
    said = " ".join(done.stdout.split())
    assert "host memory to host memory, copies included, preprocessing left out; 1 thread(s) for the engine and for PyTorch" in said
    assert "note: taking the newest engine, engines/small/engine.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_one_object_and_a_limit_exits_3_after_it(folder: Path) -> None:
    done = run(folder, "weak.onnx", *FAST, "--min-agreement", "99.5", "--max-p99", "10000", "--json")
    assert done.returncode == 3
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert list(report) == ["runs", "reference", "passed", "included", "preprocess_ms"]
    assert report["passed"] is False
    agreement = report["runs"][0]["accuracy"]["agreement"]["value"]
    assert agreement < 99.5
    assert done.stderr.splitlines()[-1] == (
        f"error: engines/small/weak.onnx at batch 1: agreement {agreement:.2f} % is below 99.5 %; the report has the figures"
    )


def test_a_users_error_is_one_line(folder: Path) -> None:
    done = run(folder, "engine.plan", *FAST)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no engine.plan, only an engine for ONNX Runtime, engines/small/engine.onnx; "
        "run `se-deploy bench engines/small/engine.onnx`\n"
    )


@pytest.mark.parametrize("words", ["--batch 1,x", "--batch 0", "--duration 0", "--threads 0", "--min-agreement 101"])
def test_bad_words_are_usage_errors(folder: Path, words: str) -> None:
    done = run(folder, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert words.split()[0] in done.stderr
