"""`doctor` on this machine, on one that has nothing, and on ones whose parts do not fit together."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from se_deploy import doctor
from se_deploy.errors import ArtifactError, CheckFailed
from tests.runtime import stubs
from tests.serving import engines

ROOT = Path(__file__).parents[2]
#: What a bare machine lacks, by how its files in site-packages begin.
HIDDEN = ("onnxruntime", "tensorrt", "openvino", "tritonclient", "kernel_lens", "nvidia", "cuda", "polygraphy")


def bare_packages(folder: Path) -> Path:
    """A site-packages of links to this one's, without what a bare machine lacks."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.lower().startswith(HIDDEN):
            (folder / path.name).symlink_to(path)
    return folder


def asked(*words: str, packages: Path | None = None, **variables: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    """`doctor --json`, and what it printed; `packages` in the place of site-packages."""
    path = f"{packages}{os.pathsep}{ROOT}" if packages else str(ROOT)
    command = [sys.executable, *(["-S"] if packages else []), "-m", "se_deploy", "doctor", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path} | variables)
    assert "Traceback" not in done.stderr, done.stderr
    return done, json.loads(done.stdout) if done.stdout else {}


def by_name(report: dict) -> dict[str, dict]:
    return {check["name"]: check for check in report["checks"]}


def test_each_line_is_ok_or_names_the_command_that_mends_it() -> None:
    report = doctor()
    assert report.engine is None
    assert len(report.checks) >= 12
    for check in report.checks:
        assert (check.status == "ok") == (check.remedy is None), check
        assert check.detail
    here = {check.name: check for check in report.checks}
    assert here["onnxruntime"].status == "ok"
    assert here["openvino"].status == "ok"
    assert re.fullmatch(r"20\d\d\.\d+\.\d+, builds and runs on \S.*", here["openvino"].detail)
    assert here["ONNX Runtime CPU"].detail.endswith("the provider starts")
    assert {"GPU", "driver", "CUDA", "tensorrt", "tensorrt-rtx", "openvino", "plugin", "plugin compiler", "Triton client", "disk"} <= set(
        here
    )


def test_a_bare_machine_gets_a_list_and_no_traceback(tmp_path: Path) -> None:
    driver = stubs.no_driver(tmp_path / "driver")
    done, report = asked(
        packages=bare_packages(tmp_path / "bare"), PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), LD_LIBRARY_PATH=str(driver)
    )
    assert done.returncode == 0, done.stderr
    lines = by_name(report)
    for name in (
        "GPU",
        "driver",
        "CUDA",
        "tensorrt",
        "tensorrt-rtx",
        "onnxruntime",
        "openvino",
        "plugin compiler",
        "plugin",
        "C++ compiler",
        "Triton client",
    ):
        assert lines[name]["status"] == "missing", lines[name]
        assert lines[name]["remedy"], lines[name]


def test_a_gpu_and_a_driver_are_told(tmp_path: Path) -> None:
    _, report = asked(LD_LIBRARY_PATH=str(stubs.driver(tmp_path)))
    lines = by_name(report)
    assert (lines["GPU"]["status"], lines["GPU"]["detail"]) == ("ok", "Stub GPU (sm_89)")
    assert (lines["CUDA"]["status"], lines["CUDA"]["detail"]) == ("ok", "the driver offers 13.0")


def test_an_old_driver_is_a_mismatch_and_one_without_a_gpu_is_told(tmp_path: Path) -> None:
    _, report = asked(LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "old", cuda=12040)))
    assert by_name(report)["CUDA"]["status"] == "mismatch"
    assert "offers 12.4, the plugin needs 13.0" in by_name(report)["CUDA"]["detail"]
    _, report = asked(LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "none", init=100)))
    assert by_name(report)["GPU"]["status"] == "missing"
    assert "CUDA error 100" in by_name(report)["GPU"]["detail"]


def test_a_driver_library_that_is_none_is_a_line(tmp_path: Path) -> None:
    done, report = asked(LD_LIBRARY_PATH=str(stubs.no_driver(tmp_path)))
    assert done.returncode == 0
    assert by_name(report)["GPU"]["status"] == "missing"


def test_a_plugin_that_does_not_load_is_a_mismatch(tmp_path: Path) -> None:
    from se_deploy.backends.plugin import sources

    place = tmp_path / "se-deploy" / "plugin" / sources.fingerprint(sources.root()) / sources.LIBRARY
    place.parent.mkdir(parents=True)
    place.write_bytes(b"no library")
    _, report = asked(XDG_CACHE_HOME=str(tmp_path))
    assert (by_name(report)["plugin"]["status"], by_name(report)["plugin"]["remedy"]) == ("mismatch", "se-deploy plugin build")


def test_an_engine_that_runs_is_told_so(tmp_path: Path) -> None:
    report = doctor(engines.engine(tmp_path))
    assert report.engine is not None
    assert report.engine.runs
    report.check()


def test_a_plan_without_a_gpu_cannot_run_and_the_exit_code_says_so(tmp_path: Path) -> None:
    plan = engines.plan(tmp_path)
    done, report = asked(str(plan))
    assert done.returncode == 3
    assert not report["engine"]["runs"]
    assert done.stderr.startswith(f"error: {plan} cannot run here: TensorRT is not installed")


def test_an_engine_whose_plugin_is_gone_cannot_run(tmp_path: Path) -> None:
    plan = engines.plan(tmp_path)
    plan.with_name("libse_plugin.so").unlink()
    with pytest.raises(CheckFailed, match="it needs the plugin .*libse_plugin.so, which is not there"):
        doctor(plan).check()


def test_an_engine_that_its_backend_refuses_cannot_run(tmp_path: Path) -> None:
    from se_deploy.artifacts import FileRef

    engine = engines.engine(tmp_path)
    engine.write_bytes(b"no onnx")
    engines.changed(engine, engine=FileRef.of(engine))
    with pytest.raises(CheckFailed, match="ONNX Runtime does not take"):
        doctor(engine).check()


def test_an_engine_that_was_changed_is_refused(tmp_path: Path) -> None:
    engine = engines.engine(tmp_path)
    engine.write_bytes(b"x")
    with pytest.raises(ArtifactError, match="its SHA-256 differs"):
        doctor(engine)


def test_the_table_has_a_line_for_each_check() -> None:
    done = subprocess.run([sys.executable, "-m", "se_deploy", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for check in doctor().checks:
        assert check.name in done.stdout
