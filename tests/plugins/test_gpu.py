"""The kernels on a GPU: against the reference, the same bits twice, and clean under compute-sanitizer. `pytest -m gpu tests/plugins`."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from se_deploy.backends.plugin import toolchain
from se_deploy.errors import BackendError
from tests.plugins.cases import ROADS, Case, inputs_of, run, write
from tests.plugins.compiling import KERNELS, TESTS
from tests.plugins.drawn import KINDS, drawn, edges

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")]
TOOLS = ("memcheck", "racecheck", "synccheck")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plugins/tests/run_gpu.cu, compiled for the GPU that is here."""
    try:
        compiler, folder = toolchain.compiler()
    except BackendError as error:
        pytest.skip(str(error))
    major, minor = torch.cuda.get_device_capability()
    binary = tmp_path_factory.mktemp("gpu") / "run_gpu"
    libraries = [f"-L{folder}"] if folder else []
    sources = [TESTS / "run_gpu.cu", *sorted(KERNELS.glob("*.cu"))]
    flags = ["-std=c++17", "-O3", "-lineinfo", f"-arch=sm_{major}{minor}", f"-I{KERNELS}", f"-I{TESTS}", *libraries]
    subprocess.run([str(compiler), *flags, *map(str, sources), "-o", str(binary)], check=True)
    return binary


def roads() -> tuple[str, ...]:
    """Those of this GPU."""
    return tuple(road for road in ROADS if road != "cluster" or torch.cuda.get_device_capability()[0] in (9, 10))


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_each_kernel_against_the_reference(program: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    if road not in roads():
        pytest.skip(f"no {road} road on this GPU")
    run(program, [replace(case, road=road) for case in edges(dtype, layout) + drawn(60, 3, dtype, layout)], tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_what_the_chooser_takes_for_real_sizes(program: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    stages = [(256, 16, 56), (512, 32, 28), (1024, 64, 14), (2048, 128, 7)]
    cases = [
        Case(dtype=dtype, layout=layout, n=n, c=c, r=r, hw=side * side, skip="add", epilogue="relu")
        for c, r, side in stages
        for n in (1, 8, 32)
    ]
    run(program, [*cases, Case(dtype=dtype, layout=layout, n=2, c=16, r=4, hw=512 * 512)], tmp_path)


@pytest.mark.parametrize("tool", TOOLS)
def test_compute_sanitizer_is_clean(program: Path, tmp_path: Path, tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed; it comes with the CUDA toolkit")
    cases = [replace(case, road=road) for dtype, layout in KINDS for road in roads() for case in drawn(4, 4, dtype, layout)]
    paths = [tmp_path / f"{number}.case" for number in range(len(cases))]
    for case, path in zip(cases, paths, strict=True):
        write(case, inputs_of(case), path)
    done = subprocess.run([sanitizer, "--tool", tool, "--error-exitcode", "9", program, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
