"""`se-deploy calibrate` as a user types it."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from se_deploy.cli.app import app
from tests.stages import exports

KEYS = {
    "output", "manifest", "backend", "precision", "se_blocks", "plugin_layers", "images", "seconds", "peak_rss_mb", "fallback",
}  # fmt: skip


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    exports.directory(Path("engines"))
    exports.pictures(Path("imgs"), 4)
    return tmp_path


def test_prints_the_path_alone_and_remarks_beside() -> None:
    done = CliRunner().invoke(app, ["calibrate", "--calib", "imgs"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "calibration/small.json\n")
    assert "note: taking the newest export, engines/small" in done.stderr
    assert "note: calibrated on 4 image(s), fewer than 32" in done.stderr


def test_json_is_one_object_of_the_contract() -> None:
    words = ["calibrate", "engines/small", "--calib", "imgs", "--images", "2", "--method", "minmax", "-o", "s.json", "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    result = json.loads(done.stdout)
    assert set(result) == KEYS
    assert (result["output"], result["images"], result["se_blocks"], result["precision"]) == ("s.json", 2, 2, None)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--calib", "imgs", "--images", "0"],
        ["--calib", "imgs", "--images", "many"],
        ["--calib", "imgs", "--runner", "dask"],
        ["engines/small", "engines/small", "--calib", "imgs"],
        ["--merge"],
        ["a", "model.onnx", "--merge"],
        ["model.onnx", "other.onnx", "a", "--merge", "--calib", "imgs"],
        ["model.onnx", "--merge", "--calib", "imgs"],
        ["a", "b", "--merge", "--resume"],
        ["a", "b", "--merge", "--repairs", "none"],
        ["--calib", "imgs", "--repairs", "some"],
    ],
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["calibrate", *words]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--calib", "none"], "error: no folder none; name a folder of images\n"),
        (["--calib", "imgs", "--shard", "3/2"], "error: '3/2' is no shard; write I/N with I from 1 to N, such as 1/4\n"),
        (["--merge", "a", "-o", "s.json"], "error: no file a; write it with `se-deploy calibrate --shard I/N`\n"),
        (["--merge", "imgs/000.png"], "error: imgs/000.png is no histogram file; write it with `se-deploy calibrate --shard I/N`\n"),
        (["nothing", "--calib", "imgs"], "error: no model nothing; run `se-deploy export SOURCE` first\n"),
        (
            ["--calib", "imgs", "--method", "median"],
            "error: no calibration method is called 'median'; take one of auto, minmax, percentile, entropy, mse\n",
        ),
    ],
)
def test_a_users_error_is_one_line_and_1(words: list[str], line: str) -> None:
    done = subprocess.run([sys.executable, "-m", "se_deploy", "calibrate", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(line)
    assert "Traceback" not in done.stderr


def test_help_shows_examples() -> None:
    done = CliRunner().invoke(app, ["calibrate", "--help"])
    assert "se-deploy calibrate engines/se_resnet50 --calib imgs/ --images 200" in done.stdout


def test_shards_merge_to_the_file_of_one_run() -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["calibrate", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    run("--calib", "imgs", "-o", "whole.json")
    assert [run("--calib", "imgs", "--shard", f"{i}/2", "-o", f"{i}.safetensors") for i in (1, 2)] == ["1.safetensors\n", "2.safetensors\n"]
    assert run("--merge", "1.safetensors", "2.safetensors", "-o", "merged.json") == "merged.json\n"
    assert Path("merged.json").read_bytes() == Path("whole.json").read_bytes()
    assert "merge" in CliRunner().invoke(app, ["calibrate", "--help"]).stdout


def test_a_terminal_gets_a_bar_with_the_time_left() -> None:
    exports.pictures(Path("imgs"), 60)  # of which 7 are kept apart
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "se_deploy", "calibrate", "--calib", "imgs"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as running:
        os.close(theirs)
        drawn = b"".join(iter(lambda: _read(ours), b"")).decode()
        assert running.stdout is not None
        assert running.stdout.read() == "calibration/small.json\n"
    os.close(ours)
    assert running.returncode == 0
    seen = re.findall(r"calibrate \S+ +(\d+)/53 \d:\d\d:\d\d (\d:\d\d:\d\d|-:--:--) left", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn))
    assert ("53", "0:00:00") in seen
    assert len({done for done, _ in seen}) > 1


def _read(terminal: int) -> bytes:
    """What was written to a terminal, b"" at its end, which is an error to Linux."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
