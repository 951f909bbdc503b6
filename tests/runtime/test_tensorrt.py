"""Plans in the C++ loader on a machine without a GPU, under AddressSanitizer: every reason not to load one, told first."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from se_deploy import artifacts, build, package
from se_deploy.artifacts import EngineManifest
from se_deploy.errors import PackageError
from tests.runtime import stubs
from tests.runtime.test_sample import classify
from tests.serving import engines
from tests.stages import exports

pytestmark = pytest.mark.usefixtures("sanitized")


def refused(sanitized: Path, plan: Path, **variables: str) -> str:
    """What the program says of a plan: one line, and no crash."""
    done = classify(sanitized, plan, "photo.jpg", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return engines.plan(tmp_path)


def test_the_tensorrt_side_is_compiled_with_warnings_as_errors(sanitized: Path) -> None:
    """Against the headers of the kernel-lens wheel, as C++17; the fixture did it."""
    cache = (sanitized.parent / "CMakeCache.txt").read_text()
    assert "kernel_lens/include/tensorrt" in cache
    assert "SE_WERROR:BOOL=ON" in cache
    commands = (sanitized.parent / "CMakeFiles/se_objects.dir/flags.make").read_text()
    for flag in ("-Wall", "-Wextra", "-Werror", "-std=c++17", "-fsanitize=address,undefined", "-DSE_WITH_TENSORRT=1"):
        assert flag in commands


def plugin_named(file: str) -> Callable[[Path], None]:
    def edit(plan: Path) -> None:
        manifest = artifacts.read(EngineManifest, Path(f"{plan}.json"))
        engines.changed(plan, plugin=manifest.plugin.model_copy(update={"file": file}))

    return edit


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated plan": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "the engine that the manifest describes: it was cut off or changed"),
    "an empty plan": (lambda p: p.write_bytes(b""), "it was cut off or changed"),
    "a changed plan": (lambda p: p.write_bytes(b"X" + p.read_bytes()[1:]), "it was cut off or changed"),
    "an old major": (lambda p: engines.changed(p, versions={"tensorrt": "8.6.1"}), "TensorRT 8.6.1, and this loader knows 10 to 11"),
    "a major to come": (lambda p: engines.changed(p, versions={"tensorrt": "12.0"}), "is a plan of TensorRT 12.0"),
    "no version": (lambda p: engines.changed(p, versions={}), "the manifest does not say which TensorRT built"),
    "no number": (lambda p: engines.changed(p, versions={"tensorrt": "ten"}), "the manifest does not say which TensorRT built"),
    "a missing plugin": (lambda p: p.with_name("libse_plugin.so").unlink(), "no plugin "),
    "another plugin": (lambda p: p.with_name("libse_plugin.so").write_bytes(b"x"), "is not the plugin that the manifest describes"),
    "a plugin outside": (plugin_named("../../x.so"), "which is not a file in its own folder"),
    "a plugin at the root": (plugin_named("/lib/x86_64-linux-gnu/libm.so.6"), "which is not a file in its own folder"),
    "no tensorrt": (lambda p: None, "needs TensorRT 10, which is not here: libnvinfer.so.10: cannot open shared object file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_plan_that_cannot_load_says_why(sanitized: Path, plan: Path, case: str) -> None:
    edit, said = WRONG[case]
    edit(plan)
    assert said in refused(sanitized, plan)


def test_a_library_of_another_major_is_told(sanitized: Path, plan: Path, tmp_path: Path) -> None:
    for version, text in ((110400, "TensorRT 11.4.0"), (8601, "TensorRT 8.6.1"), (10701, "TensorRT-RTX 1.7.1")):
        library = stubs.tensorrt(tmp_path / str(version), version)
        line = refused(sanitized, plan, SE_TENSORRT=str(library))
        assert f"is a plan of TensorRT 10.13.3.9, and {library} is {text}; a plan loads only on the major version that built it" in line


def test_a_library_that_is_no_tensorrt_is_told(sanitized: Path, plan: Path) -> None:
    assert "libm.so.6 is not TensorRT" in refused(sanitized, plan, SE_TENSORRT="libm.so.6")


def test_no_driver_no_gpu_and_another_gpu_are_told(sanitized: Path, plan: Path, tmp_path: Path) -> None:
    library = str(stubs.tensorrt(tmp_path / "trt", 101303))
    line = refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(stubs.no_driver(tmp_path / "driverless")))
    assert "no GPU here: there is no NVIDIA driver" in line
    none = stubs.driver(tmp_path / "none", init=100)
    line = refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(none))
    assert "no GPU here: no CUDA-capable device is detected; check it with nvidia-smi" in line
    unknown = stubs.driver(tmp_path / "unknown", init=777)
    assert "no GPU here: CUDA error 777" in refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(unknown))
    nothing = stubs.driver(tmp_path / "nothing", count=0)
    assert "no GPU of number 0 here: there are 0" in refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(nothing))
    engines.changed(plan, targets=("sm_89", "sm_120"))
    other = stubs.driver(tmp_path / "other", capability=(7, 5))
    line = refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(other))
    assert "was built for sm_89, sm_120, and Stub GPU is sm_75; build it for this GPU" in line


def test_headers_of_another_major_are_told(sanitized: Path, tmp_path: Path) -> None:
    """The loader was compiled with TensorRT 10's headers: it does not call into an 11 by their layout."""
    plan = engines.plan(tmp_path, version="11.4.0.1")
    library = str(stubs.tensorrt(tmp_path / "trt", 110400, "libnvinfer.so.11"))
    line = refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "gpu")))
    assert "compiled with the headers of TensorRT 10.14.1, and the library is TensorRT 11.4.0" in line


def test_a_tensorrt_that_does_not_start_is_told(sanitized: Path, plan: Path, tmp_path: Path) -> None:
    library = str(stubs.tensorrt(tmp_path / "trt", 101303))
    line = refused(sanitized, plan, SE_TENSORRT=library, LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "gpu")))
    assert "TensorRT 10.13.3 does not start: no reason given" in line


def test_an_rtx_plan_needs_its_own_library(sanitized: Path, tmp_path: Path) -> None:
    plan = engines.plan(tmp_path, version="1.7.1", backend="tensorrt-rtx")
    line = refused(sanitized, plan)
    assert "needs TensorRT-RTX 1, which is not here" in line
    assert "TensorRT itself cannot load such a plan" in line
    library = stubs.tensorrt(tmp_path / "trt", 101303)
    assert f"is a plan of TensorRT-RTX 1.7.1, and {library} is TensorRT 10.13.3" in refused(sanitized, plan, SE_TENSORRT=str(library))


def test_the_real_rtx_library_opens_and_the_missing_gpu_is_told_first(sanitized: Path, tmp_path: Path) -> None:
    spec = find_spec("tensorrt_rtx_libs")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed: pip install 'se-deploy[rtx]'")
    library = next(Path(spec.submodule_search_locations[0]).glob("libtensorrt_rtx.so.*"))
    plan = engines.plan(tmp_path, version="1.7.1.116", backend="tensorrt-rtx")
    line = refused(sanitized, plan, SE_TENSORRT=str(library), LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "none", init=100)))
    assert "no GPU here: no CUDA-capable device is detected" in line
    line = refused(sanitized, plan, SE_TENSORRT=str(library), LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "gpu")))
    assert "compiled with the headers of TensorRT 10.14.1, and the library is TensorRT-RTX 1.7.1" in line


def test_a_real_rtx_plan_is_refused_by_packaging_and_told_by_the_loader(sanitized: Path, tmp_path: Path) -> None:
    """Built here, without a GPU, by TensorRT-RTX itself."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed: pip install 'se-deploy[rtx]'")
    made = build(exports.directory(tmp_path), fp32=True, backend="tensorrt-rtx", target=["sm_89"], plugin="off")
    with pytest.raises(PackageError, match="a stock Triton cannot load a TensorRT-RTX plan"):
        package(made.output, triton=tmp_path / "models")
    project = package(made.output, cpp=tmp_path / "project").output
    line = refused(sanitized, project / "model/engine.plan", LD_LIBRARY_PATH=str(stubs.driver(tmp_path / "none", init=100)))
    assert "needs TensorRT-RTX 1, which is not here" in line
