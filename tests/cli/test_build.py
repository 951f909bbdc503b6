"""`se-deploy build` as a user types it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from se_deploy.cli.app import app
from tests.cli.test_calibrate import KEYS
from tests.stages import exports
from tests.stages.test_build_fallback import LAYERS, planted


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    exports.directory(Path("engines"))
    exports.pictures(Path("imgs"), 4)
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["build", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_users_line() -> None:
    assert run("--int8", "--calib", "imgs") == "engines/small/engine.onnx\n"
    assert {"engine.onnx", "engine.onnx.json", "engine.onnx.scales.json"} <= set(os.listdir("engines/small"))


def test_every_option_and_json() -> None:
    CliRunner().invoke(app, ["calibrate", "--calib", "imgs", "-o", "s.json"], catch_exceptions=False)
    words = ["engines/small/model.onnx", "--int8", "--scales", "s.json", "--backend", "onnxruntime", "--shapes", "x:1,2,3"]
    result = json.loads(run(*words, "-o", "e.onnx", "--json"))
    assert set(result) == KEYS
    assert (result["output"], result["manifest"]) == ("e.onnx", "e.onnx.json")
    assert (result["backend"], result["precision"]) == ("onnxruntime", "int8")
    assert (result["images"], result["se_blocks"], result["plugin_layers"]) == (4, 2, None)
    assert json.loads(Path("e.onnx.json").read_text())["inputs"][0]["max"] == [3, 3, 32, 32]
    assert json.loads(run("--fp16", "-o", "e.onnx", "--force", "--json"))["precision"] == "fp16"


def test_what_fell_back_is_in_the_json() -> None:
    exports.directory(Path("engines"), planted("conv2"), name="planted")
    exports.pictures(Path("many"), 100)
    words = ["engines/planted", "--int8", "--calib", "many", "--min-agreement", "90", "--json"]
    assert json.loads(run(*words))["fallback"] == ["conv2"]
    assert json.loads(run("engines/planted", "--int8", "--calib", "many", "--json"))["fallback"] is None


def test_a_bound_that_cannot_hold_is_3_and_nothing_is_written() -> None:
    exports.directory(Path("engines"), planted(*LAYERS), name="planted")
    exports.pictures(Path("many"), 150)
    before = sorted(os.listdir("engines/planted"))
    words = ["build", "engines/planted", "--int8", "--calib", "many", "--min-agreement", "100"]
    done = subprocess.run([sys.executable, "-m", "se_deploy", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("error: INT8 breaks the bound (an agreement of at least 100 %) on 30 images")
    assert sorted(os.listdir("engines/planted")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--int8", "--calib", "imgs", "--max-drop", "1", "--min-agreement", "99"], "exclude each other"),
        (["--fp16", "--max-drop", "1"], "are for int8"),
        (["--int8", "--calib", "imgs", "--data", "imgs"], "is for max_drop"),
        (["--int8", "--calib", "imgs", "--min-agreement", "101"], "less than or equal to 100"),
        (["--fp16", "--int8"], "fp16 and int8 exclude each other"),
        (["--calib", "imgs"], "are for int8"),
        (["--int8", "--calib", "imgs", "--scales", "s.json"], "exclude each other"),
        (["--shape", "x:1,2,3"], "No such option"),
    ],
)
def test_wrong_usage_is_2(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["build", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--int8"], "error: INT8 needs scales, and they are never made from random data; add --calib DIR with images, or --scales FILE\n"),
        (
            ["--backend", "openvino", "--embed-plugin"],
            "error: --embed-plugin is for TensorRT, this engine is for OpenVINO; leave it out, or take another --backend\n",
        ),
        (["-o", "imgs/000.png"], "error: imgs/000.png is there already, without a manifest; add --force, or name another file with -o\n"),
        (["--shapes", "x:1,2"], "error: --shapes x:1,2: 2 size(s); give three: min,opt,max\n"),
    ],
)
def test_a_users_error_is_one_line_and_1(words: list[str], line: str) -> None:
    done = subprocess.run([sys.executable, "-m", "se_deploy", "build", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(line)
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_130_and_leaves_nothing() -> None:
    exports.pictures(Path("many"), 400)
    before = sorted(os.listdir("engines/small"))
    words = [sys.executable, "-m", "se_deploy", "build", "--int8", "--calib", "many"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("calibrate")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""
    assert sorted(os.listdir("engines/small")) == before


def test_help_shows_examples() -> None:
    done = CliRunner().invoke(app, ["build", "--help"])
    assert "se-deploy build engines/se_resnet50 --fp16 -o half.onnx" in done.stdout
