"""The demo, as a user runs it: a trained network must keep its answers in INT8."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def se_deploy(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "se_deploy", *words], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.slow
def test_demo_keeps_its_answers_in_int8(tmp_path: Path) -> None:
    done = se_deploy("demo", "-o", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [line.split()[2] for line in done.stderr.splitlines() if line.startswith("$ se-deploy ")]
    assert shown == ["export", "build", "bench"]
    last_row = next(line for line in done.stdout.splitlines() if "onnxruntime int8" in line)
    assert last_row.rstrip(" │").endswith(" 8"), "eight SE blocks fused"

    words = ("bench", "demo/engine.onnx", "--data", "demo/imgs/test", "--duration", "0.2", "--json")
    report = json.loads(se_deploy(*words, cwd=tmp_path).stdout)
    accuracy = report["runs"][0]["accuracy"]
    assert accuracy["images"] == 597
    assert accuracy["top1_reference"]["value"] > 97
    assert accuracy["top1"]["value"] > accuracy["top1_reference"]["value"] - 1
    assert accuracy["agreement"]["low"] > 97
