"""Every kernel on a CPU, thread by thread, against the NumPy reference: the same sources that nvcc compiles."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.cases import DEVICES, ROADS, Case, run
from tests.plugins.drawn import KINDS, drawn, edges


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_each_size_at_its_edges(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    assert len(run(binary, [case.on(road) for case in edges(dtype, layout)], tmp_path)) == 72


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_random_cases(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    run(binary, [case.on(road) for case in drawn(60, 1, dtype, layout)], tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_a_large_map_in_parts(binary: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    big = Case(dtype=dtype, layout=layout, n=1, c=3, r=2, hw=112 * 112, skip="add", epilogue="relu", road="split")
    run(binary, [big, replace(big, hw=512 * 512, c=1, n=2)], tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_nothing_is_read_or_written_outside(sanitized: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    """Under AddressSanitizer; every tensor and every block's shared memory has exactly the bytes that it needs."""
    run(sanitized, [case.on(road) for case in drawn(8, 2, dtype, layout)], tmp_path)


@pytest.mark.parametrize("road", ["split", "cluster"])
@pytest.mark.parametrize(("dtype", "layout"), [("float16", "linear"), ("int8", "chw32"), ("float32", "hwc8")])
def test_elements_behind_the_first_four_billion(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    """The last images of a tensor of more than 2^32 elements; a device with a block for every job, so that the last blocks do them."""
    case = Case(dtype=dtype, layout=layout, n=3, c=32, r=4, hw=2048, before=70_000)
    assert (case.before + case.n) * case.c * case.hw > 1 << 32
    device = replace(DEVICES[road], multiprocessors=(case.before + case.n) * 8 // 8, l2=1 << 45)
    run(binary, [replace(case, road=road, device=device)], tmp_path)


def test_what_cannot_be_is_refused(binary: Path) -> None:
    said = dict(
        line.split(": ") for line in subprocess.run([binary, "--refusals"], capture_output=True, text=True, check=True).stdout.splitlines()
    )
    assert (said.pop("right"), said.pop("no image")) == ("0", "0")
    assert len(said) == 16
    assert set(said.values()) == {"1"}  # cudaErrorInvalidValue
