"""`se-deploy export` as a user types it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from se_deploy.artifacts import Preprocess
from se_deploy.cli.app import app
from tests.cli.test_calibrate import KEYS
from tests.networks import planted

FAST = ("--trust", "--exporter", "torchscript")
COMMAND = [sys.executable, "-m", "se_deploy", "export"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["export", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def written(folder: str) -> dict:
    return json.loads(Path(folder, "manifest.json").read_text())


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.is_file()}


def environment() -> dict[str, str]:
    """The tests' own modules must be importable, for the pickled network."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


def test_the_users_line(workplace: Path) -> None:
    planted.save(workplace, name="se_mine.pth.tar")
    assert run("se_mine.pth.tar", *FAST) == "engines/se_mine\n"


def test_every_option_and_json(workplace: Path) -> None:
    planted.save(workplace)
    Path("names.txt").write_text("a\nb\nc\nd\ne\n")
    words = "--input x=1x3x40x36 --opset 17 --batch 3 --spatial fixed --fuse all --labels names.txt --preprocess tf --mean 1,2,3"
    more = "--std 4,5,6 --resize 44x40 --crop 40x36 --interpolation box --color BGR --scale 1/128 --num-classes 5 -o out --force --json"
    result = json.loads(run("mine.pt", *FAST, *words.split(), *more.split()))
    assert set(result) == KEYS
    assert (result["output"], result["manifest"], result["se_blocks"]) == ("out", "out/manifest.json", 1)
    assert result["backend"] is result["precision"] is result["images"] is result["fallback"] is None
    made = written("out")
    assert (made["opset"], made["labels"], made["exporter"]) == (17, list("abcde"), "torchscript")
    assert (made["inputs"][0]["name"], made["inputs"][0]["shape"]) == ("x", [3, 3, 40, 36])
    expected = Preprocess(resize=(44, 40), crop=(40, 36), interpolation="box", color="BGR", scale=1 / 128, mean=(1, 2, 3), std=(4, 5, 6))
    assert Preprocess.model_validate(made["preprocess"]) == expected


@pytest.mark.parametrize(("batch", "shape"), [("dynamic", "batch"), ("2", 2)])
def test_batch_by_word_or_number(batch: str, shape: str | int, workplace: Path) -> None:
    planted.save(workplace)
    run("mine.pt", *FAST, "--batch", batch)
    assert written("engines/mine")["inputs"][0]["shape"][0] == shape


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "0"], "'0' is neither dynamic nor a number"),
        (["--batch", "all"], "'all' is neither dynamic nor a number"),
        (["--mean", "a,b"], "--mean"),
        (["--resize", "1x2x3"], "neither a side nor HxW"),
        (["--scale", "1/0"], "'1/0' is no number"),
        (["--scale", "1/x"], "--scale"),
        (["--fuse", "some"], "--fuse"),
        (["--color", "HSV"], "--color"),
        (["--exporter", "onnx"], "--exporter"),
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["export", "mine.pt", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.stderr


def test_notes_are_on_stderr(workplace: Path) -> None:
    planted.save(workplace)
    done = CliRunner().invoke(app, ["export", "mine.pt", *FAST], catch_exceptions=False)
    assert done.stdout == "engines/mine\n"
    assert "note: nothing says how images are prepared: imagenet is assumed" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.pt"], "error: cannot read none.pt: No such file or directory"),
        (["mine.pt"], "--trust"),
        (["mine.pt", "--trust"], "error: the network cannot be exported"),
    ],
)
def test_an_error_is_one_line_and_exits_1(words: list[str], said: str, workplace: Path) -> None:
    planted.save(workplace, planted.Branch())
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert not Path("engines/mine").exists()


@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_export_that_is_ended_leaves_the_old_one(end: signal.Signals, code: int, workplace: Path) -> None:
    planted.save(workplace)
    run("mine.pt", *FAST)
    before = hashes(Path("engines/mine"))
    planted.save(workplace, planted.MemoryEfficient())
    words = [*COMMAND, "mine.pt", "--trust", "--force"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        for line in process.stderr:
            if line.startswith("export with dynamo"):
                process.send_signal(end)
                break
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert rest == ""
    assert hashes(Path("engines/mine")) == before
    left = [path for path in Path("engines").rglob("*") if path.name not in before and path.name != "mine"]
    assert left == [] or end == signal.SIGKILL
