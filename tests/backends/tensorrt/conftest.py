"""What the tests of TensorRT share: the plugin library, compiled once a run, and the small network's model directory."""

from pathlib import Path

import pytest

from se_deploy.artifacts import silent
from se_deploy.backends.plugin import library
from se_deploy.backends.tensorrt import gpu
from tests.stages import exports


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The library that `--plugin auto` takes."""
    return library.chosen("auto", silent).file


@pytest.fixture(autouse=True)
def _no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests say holds for a machine without a GPU; where there is one, it is hidden."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(gpu, "first", lambda: None)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return exports.directory(tmp_path)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exports.pictures(tmp_path_factory.mktemp("imgs"), 2)
