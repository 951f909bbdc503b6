"""The command line as CLI.md fixes it: quick help, exit codes, one line for an error."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("export", "inspect", "fuse", "fold", "calibrate", "build", "bench", "demo")
HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "onnx_graphsurgeon", "polygraphy", "numpy", "pydantic", "PIL", "plotly")


def se_deploy(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "se_deploy", *words], capture_output=True, text=True, check=False, cwd=cwd)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['se-deploy', '--help']\nfrom se_deploy.cli.app import main\n"
        f"try:\n    main()\nfinally:\n    print('HEAVY', sorted(set(sys.modules) & set({HEAVY})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout + done.stderr


def test_help_lists_every_command() -> None:
    out = se_deploy("--help").stdout
    assert all(re.search(rf"\b{command}\b", out) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = se_deploy(command, "--help")
    assert done.returncode == 0
    assert f"se-deploy {command}" in done.stdout


def test_usage_errors_exit_2() -> None:
    assert se_deploy("build", "--no-such-option").returncode == 2
    assert se_deploy("no-such-command").returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("export", "missing.pt"),
        ("export", "timm:no_such_network"),
        ("inspect", "missing.onnx"),
        ("fuse", "missing.onnx", "-o", "out.onnx"),
        ("calibrate", "missing", "--calib", "missing"),
        ("build", "missing"),
        ("build",),
        ("bench", "missing.plan"),
        ("bench",),
    ],
    ids=" ".join,
)
def test_a_users_error_is_one_line_and_exit_1(words: tuple[str, ...], tmp_path: Path) -> None:
    done = se_deploy(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "; " in lines[0], "says what to do"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.onnx"))
