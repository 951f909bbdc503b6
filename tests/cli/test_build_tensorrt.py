"""`se-deploy build` for TensorRT-RTX as the README has it, on a machine without a GPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from se_deploy.artifacts import silent
from se_deploy.backends.plugin import library
from tests.stages import exports

README = Path(__file__).parents[2] / "README.md"
LINE = "se-deploy build --int8 --calib imgs/ --backend tensorrt-rtx --target sm_89"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.chosen("auto", silent)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what is said here holds for a machine without a GPU
    monkeypatch.chdir(tmp_path)
    exports.directory(Path("engines"))
    exports.pictures(Path("imgs"), 4)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "se_deploy", *words], capture_output=True, text=True, check=False)


def test_the_readmes_line_works() -> None:
    assert re.search(rf"^{re.escape(LINE)}$", README.read_text(), re.MULTILINE)
    done = run(*LINE.split()[1:])
    assert (done.returncode, done.stdout) == (0, "engines/small/engine.plan\n"), done.stderr
    assert "note: the engine was not run: no NVIDIA GPU is here" in done.stderr
    assert {"engine.plan", "engine.plan.json", "engine.plan.scales.json", "engine.layers.json", "engine.plugin.so"} <= set(
        os.listdir("engines/small")
    )


def test_json_has_the_plugin_layers() -> None:
    done = run("build", "--backend", "tensorrt-rtx", "--target", "sm_89", "--target", "sm_120", "--json")
    result = json.loads(done.stdout)
    assert (result["backend"], result["precision"], result["se_blocks"], result["plugin_layers"]) == ("tensorrt-rtx", "fp16", 2, 2)
    assert json.loads(Path(result["manifest"]).read_text())["targets"] == ["sm_89", "sm_120"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["build", "--backend", "tensorrt-rtx"],
            "error: no GPU is here, so the engine's is to be named; "
            "add --target, one or more of sm_75, sm_80, sm_86, sm_89, sm_120, sm_121\n",
        ),
        (
            ["build", "--target", "sm_89"],
            "error: --target is for TensorRT, this engine is for ONNX Runtime; add --backend, or leave it out\n",
        ),
        (
            ["build", "--backend", "tensorrt-rtx", "--target", "sm_89", "--plugin", "no.so"],
            "error: no plugin library no.so; run `se-deploy plugin build`, or correct --plugin\n",
        ),
        (["bench", "engine.plan"], "error: no engine engine.plan; run `se-deploy build` first, or name one that is there\n"),
    ],
)
def test_a_users_error_is_one_line_and_1(words: list[str], line: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(line)
    assert "Traceback" not in done.stderr


def test_bench_of_a_plan_without_a_gpu_names_the_backend_that_runs_here() -> None:
    assert run("build", "--backend", "tensorrt-rtx", "--target", "sm_89").returncode == 0
    done = run("bench", "engine.plan")
    assert (done.returncode, done.stdout) == (1, "")
    refused = "error: engines/small/engine.plan needs tensorrt-rtx, which does not run here; no NVIDIA GPU is here; "
    assert done.stderr.splitlines()[-1] == f"{refused}`--backend onnxruntime` builds an engine for this CPU"
    assert run("build", "--backend", "onnxruntime").returncode == 0
    assert run("bench", "engine.plan").stderr.splitlines()[-1] == f"{refused}run `se-deploy bench engines/small/engine.onnx`"
