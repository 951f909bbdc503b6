"""Every kernel on a CPU, thread by thread, against the NumPy reference: the same sources that nvcc compiles."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from se_deploy import op
from tests.plugins.cases import DEVICES, ROADS, Case, run
from tests.plugins.drawn import KINDS, drawn, edges


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_each_size_at_its_edges(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    assert len(run(binary, [case.on(road) for case in edges(dtype, layout)], tmp_path)) == 72


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_random_cases(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    run(binary, [case.on(road) for case in drawn(40, 1, dtype, layout)], tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_a_large_map_in_parts(binary: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    big = Case(dtype=dtype, layout=layout, n=1, c=3, r=2, hw=112 * 112, skip="add", epilogue="relu", road="split")
    run(binary, [big, replace(big, hw=512 * 512, c=1, n=2)], tmp_path)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
def test_nothing_is_read_or_written_outside(sanitized: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    """Under AddressSanitizer; every tensor and every block's shared memory has exactly the bytes that it needs."""
    run(sanitized, [case.on(road) for case in drawn(6, 2, dtype, layout)], tmp_path)


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


@pytest.mark.parametrize("road", ["cluster", "persistent"])
@pytest.mark.parametrize("error", [701, 720, 912])
def test_where_a_part_of_a_device_has_no_room_the_split_road_is_taken(binary: Path, tmp_path: Path, road: str, error: int) -> None:
    """What cudaLaunchKernelEx returns under MPS or in a MIG slice; three launches then do what one would have done."""
    case = replace(Case(n=4, c=40, hw=49, counted=True).on(road), counted=True)
    (line,) = run(binary, [replace(case, device=replace(case.device, l2=1 << 20))], tmp_path, SIMT_NO_ROOM=str(error))
    assert line["traffic"]["launches"] == 3


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_every_variant_there_is(binary: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    variants = [variant for variant in op.VARIANTS.values() if not variant.int8]
    assert len(variants) == 324
    cases = [
        Case(dtype, layout, v.act, v.gate, v.skip, v.epilogue, n=2, c=9, r=3, hw=10, seed=number, schedule=number).on(ROADS[number % 3])
        for number, v in enumerate(variants)
    ]
    run(binary, cases, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("road", ROADS)
def test_every_order_of_threads_gives_the_same_bits(binary: Path, tmp_path: Path, road: str, dtype: str) -> None:
    case = Case(dtype=dtype, n=5, c=60, r=12, hw=600, skip="add", epilogue="silu").on(road)
    run(binary, [replace(case, schedule=schedule) for schedule in range(9)], tmp_path)
    assert len({(tmp_path / f"{number}.case.y").read_bytes() for number in range(9)}) == 1
