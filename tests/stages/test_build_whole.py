"""A build that is killed, interrupted or out of room leaves the old engine or the new one, never half of one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from se_deploy.errors import ArtifactError
from se_deploy.stages.build import build
from tests.stages import exports
from tests.stages.exports import manifest_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("imgs"), 40)


KILLED = """
import os, signal, sys
from pathlib import Path
import se_deploy.stages.build as stage

def die(*_):
    Path(sys.argv[2]).write_text("reached")
    os.kill(os.getpid(), signal.SIGKILL)

setattr({owner}, {name!r}, die)
stage.build(sys.argv[1], shapes=["x:1,2,3"])
"""


@pytest.mark.parametrize(
    ("owner", "name"),
    [("stage._Job", "_try"), ("stage._Job", "_manifest"), ("stage.artifacts", "write")],
    ids=["engine written", "engine tried", "before the manifest"],
)
def test_a_killed_build_leaves_the_old_engine_whole(owner: str, name: str, model: Path, tmp_path: Path) -> None:
    build(model)
    before = {file: (model / file).read_bytes() for file in ("engine.onnx", "engine.onnx.json")}
    code = KILLED.format(owner=owner, name=name)
    done = subprocess.run([sys.executable, "-c", code, str(model), str(tmp_path / "flag")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "flag").read_text() == "reached"
    assert {file: (model / file).read_bytes() for file in before} == before
    build(model, shapes=["x:1,2,3"])  # and what it left behind is in nobody's way
    assert manifest_of(model / "engine.onnx").inputs[0].max[0] == 3


def test_an_interrupted_build_leaves_nothing_behind(model: Path, pictures: Path) -> None:
    before = sorted(os.listdir(model))

    def stop(what: str, _done: int, _total: int | None) -> None:
        if what == "try the engine":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(model, int8=True, calib=pictures, progress=stop)
    assert sorted(os.listdir(model)) == before


def test_a_place_that_cannot_be_written_is_said_before_the_work(model: Path, pictures: Path) -> None:
    (model / "file").touch()
    steps: list[str] = []
    with pytest.raises(ArtifactError, match="cannot write .*file"):
        build(model, int8=True, calib=pictures, output=model / "file" / "e.onnx", progress=lambda what, *_: steps.append(what))
    assert steps == []


def test_a_full_disk_keeps_the_old_engine(model: Path) -> None:
    build(model)
    before = {file: (model / file).read_bytes() for file in ("engine.onnx", "engine.onnx.json")}
    code = (
        "import resource, signal, sys\nfrom se_deploy.stages.build import build\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\nbuild(sys.argv[1], shapes=['x:1,2,3'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False)
    assert "ArtifactError: cannot write" in done.stderr
    assert "File too large; free some space" in done.stderr
    assert {file: (model / file).read_bytes() for file in before} == before
    assert not list(model.glob(".*"))
