"""`bench --runtime cpp`: the engine timed and compared in the loader that is deployed."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from se_deploy import bench, build
from se_deploy.backends.cpp import compiling
from se_deploy.errors import BackendError
from tests.runtime import compiled
from tests.verify import built

FAST = {"warmup": 0, "duration": 0.05, "threads": 1}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.engine(built.model(tmp_path_factory.mktemp("benched") / "small"))


@pytest.mark.usefixtures("library")
def test_the_loader_is_compared_and_timed_as_any_engine(engine: Path) -> None:
    report = bench(engine, runtime="cpp", batch=[1, 8], **FAST)
    assert "engines run in the C++ loader (plugins/runtime)" in report.notes
    assert [(run.batch, run.accuracy.agreement.value) for run in report.runs] == [(1, 100.0), (8, 100.0)]
    assert max(run.accuracy.max_abs_error for run in report.runs) <= 1e-4
    alone = bench(engine, batch=[1, 8], **FAST)
    for ours, python in zip(report.runs, alone.runs, strict=True):
        assert ours.accuracy.max_abs_error == pytest.approx(python.accuracy.max_abs_error, abs=1e-5)


@pytest.mark.usefixtures("library")
def test_a_plan_is_opened_with_the_library_of_the_installed_wheel(engine: Path, tmp_path: Path) -> None:
    """A real TensorRT-RTX plan: its library is found and opened, and the missing GPU is told by the loader."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed: pip install 'se-deploy[rtx]'")
    shutil.copytree(engine.parent, tmp_path / "small")
    plan = build(tmp_path / "small", fp32=True, backend="tensorrt-rtx", target=["sm_89"], plugin="off").output
    with pytest.raises(BackendError, match="engine.plan: no GPU here|compiled with the headers of"):
        bench(plan, runtime="cpp", **FAST)


@pytest.mark.usefixtures("library")
def test_an_engine_of_openvino_is_none_of_the_loaders(engine: Path, tmp_path: Path) -> None:
    shutil.copytree(engine.parent, tmp_path / "small")
    other = build(tmp_path / "small", backend="openvino", force=True).output
    with pytest.raises(BackendError, match="is an engine of openvino, which this loader does not have"):
        bench(other, runtime="cpp", **FAST)


def test_without_any_header_the_remedy_is_told(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled.tools("cmake", "c++")
    monkeypatch.setattr(compiling, "headers", dict)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendError, match="the C\\+\\+ loader cannot be compiled: .*no engine's headers"):
        bench(engine, runtime="cpp", **FAST)


def test_without_a_compiler_it_is_named(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendError, match="no cmake and no c\\+\\+; install them"):
        bench(engine, runtime="cpp", **FAST)
