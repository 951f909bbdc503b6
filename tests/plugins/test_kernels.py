"""Every kernel on a CPU, thread by thread, against the NumPy reference: the same sources that nvcc compiles."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.cases import ROADS, Case, run
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
