"""`calibrate` and `build` import no torch, on no path, in no process that they start: it alone costs 500 MB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from se_deploy.artifacts import silent
from se_deploy.backends.plugin import library
from tests.stages import exports

#: What only `export` needs.
FORBIDDEN = ("torch", "torchvision", "timm", "onnxscript")
#: Runs command lines (a JSON list of words each) one after another, and says at the end what is imported and comes from there.
CHILD = """
import json, sys
from se_deploy.cli.app import main
for words in map(json.loads, sys.argv[1:]):
    sys.argv = ["se-deploy", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
ours = ("se_deploy.networks", "se_deploy.stages.export", "se_deploy.stages.steps.from_network", "se_deploy.stages.steps.from_onnx")
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in FORBIDDEN or name.startswith(ours)]))
"""
SHARD = ["calibrate", "small", "--calib", "imgs", "--shard", "1/1", "-o", "all.safetensors", "--json"]
MERGE = ["calibrate", "--merge", "all.safetensors", "-o", "scales.json", "--json"]
CALIBRATE = ["calibrate", "small", "--calib", "imgs", "-o", "scales.json", "--json"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    exports.directory(Path())
    exports.pictures(Path("imgs"), 40)
    trap = Path("trap")
    trap.mkdir()
    for name in FORBIDDEN:
        (trap / f"{name}.py").write_text(f"open({str(tmp_path / 'caught')!r}, 'a').write('{name} ')\nraise ImportError('trapped')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(trap.resolve()), os.environ.get("PYTHONPATH", "")]))


def imported(*commands: list[str]) -> list[str]:
    """What of torch's and of `export`'s was imported by the commands' process, or tried by one that it started."""
    code = CHILD.replace("FORBIDDEN", repr(FORBIDDEN))
    done = subprocess.run([sys.executable, "-c", code, *map(json.dumps, commands)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    assert len(printed) == len(commands)
    caught = Path("caught").read_text().split() if Path("caught").exists() else []
    return [*json.loads(last), *caught]


def test_the_trap_catches_export_and_what_a_process_starts() -> None:
    words = [sys.executable, "-m", "se_deploy", "export", "small/plain.onnx", "-o", "again"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import timm'], stderr=-3)"
    subprocess.run([sys.executable, "-c", starts], check=True)
    assert Path("caught").read_text() == "torch timm "


def test_calibrate_imports_none() -> None:
    assert imported(CALIBRATE, [*CALIBRATE, "--method", "entropy"], SHARD, MERGE) == []


def builds(backend: str, *more: str) -> list[list[str]]:
    """INT8 from images, within a bound, and from scales; and FP16."""
    images, scales = ["--int8", "--calib", "imgs"], ["--int8", "--scales", "scales.json"]
    kinds = [images, [*images, "--min-agreement", "10"], scales, ["--fp16"]]
    return [["build", "small", "--backend", backend, *kind, *more, "--force", "--json"] for kind in kinds]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_builds_for_a_cpu_import_none(backend: str) -> None:
    assert imported(CALIBRATE, *builds(backend)) == []


@pytest.mark.slow
def test_builds_for_tensorrt_rtx_import_none() -> None:
    library.chosen("auto", silent)
    assert imported(CALIBRATE, *builds("tensorrt-rtx", "--target", "sm_89")) == []
