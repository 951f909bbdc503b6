"""nvcc compiles the kernels for every architecture: no spills, no more registers than a block can have, a small library."""

from pathlib import Path

import pytest

from se_deploy.backends.plugin import toolchain
from se_deploy.errors import BackendError
from tests.plugins import nvcc
from tests.plugins.layouts import TYPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[nvcc.Kernel, dict[int, nvcc.Use]], Path]:
    try:
        toolchain.compiler()
    except BackendError as error:
        pytest.skip(str(error))
    library = tmp_path_factory.mktemp("nvcc") / "libse_kernels.so"
    return nvcc.compile_all(library), library


def test_every_kernel_is_compiled_for_every_architecture(built: tuple) -> None:
    table, _ = built
    layouts = ("linear", "channels-last")
    kernels = {
        nvcc.Kernel(name, kind, layout) for name in ("pool", "scale", "cluster", "persistent") for kind in TYPES for layout in layouts
    }
    assert set(table) == kernels | {nvcc.Kernel("excite", kind, "any") for kind in ("float32", "int64 sums")}
    assert {tuple(sorted(by_sm)) for by_sm in table.values()} == {nvcc.ARCHITECTURES}


def test_nothing_spills_and_blocks_fit(built: tuple) -> None:
    table, _ = built
    for kernel, by_sm in table.items():
        for sm, use in by_sm.items():
            assert (use.spilled, use.stack, use.shared) == (0, 0, 0), f"{kernel} on sm_{sm}: {use}"
            assert use.registers <= 128, f"{kernel} on sm_{sm}: {use}"  # two blocks of 256 threads, or one of 512, a multiprocessor


def test_the_library_is_smaller_than_ten_megabytes(built: tuple) -> None:
    _, library = built
    assert library.stat().st_size < 10e6


def test_a_spill_would_be_seen() -> None:
    said = (
        "ptxas info    : Compiling entry function '_ZN2se4poolIaLb0EEEvNS_8GeometryE' for 'sm_80'\n"
        "ptxas info    : Function properties for _ZN2se4poolIaLb0EEEvNS_8GeometryE\n"
        "    40 bytes stack frame, 44 bytes spill stores, 64 bytes spill loads\n"
        "ptxas info    : Used 48 registers, used 0 barriers, 12 bytes smem, 496 bytes cmem[0]\n"
    )
    assert nvcc.uses([said]) == {nvcc.Kernel("pool", "int8", "linear"): {80: nvcc.Use(48, 12, 108, 40)}}


def test_the_page_tells_of_every_kernel(built: tuple) -> None:
    """Registers differ a little between releases of nvcc, so not every number."""
    table, _ = built
    assert nvcc.PAGE.read_text().count("\n| ") == len(table) + 1
