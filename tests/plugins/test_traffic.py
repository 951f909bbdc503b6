"""Bytes moved: x and the residual are read once from memory, y is written once; weights are read once per image or per eight images."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.cases import DEVICES, ROADS, Case, Device, run
from tests.plugins.drawn import KINDS

LAUNCHES = {"split": 3, "cluster": 1, "persistent": 1}


def moved(binary: Path, folder: Path, case: Case) -> dict:
    """What the case moved, by tensor."""
    (line,) = run(binary, [replace(case, counted=True)], folder)
    return line | line["traffic"]


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("skip", ["none", "add"])
def test_x_and_the_residual_come_from_memory_once(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str, skip: str) -> None:
    case = Case(dtype=dtype, layout=layout, n=5, c=40, r=8, hw=208, skip=skip, epilogue="relu", seed=1).on(road)
    size = case.n * case.image_bytes
    got = moved(binary, tmp_path, case)
    assert got["launches"] == LAUNCHES[road]
    # Rows of 208 elements begin on 16 bytes, so every byte is asked for as often as the road reads it, not once more.
    assert got["x"] == {"read": size if road == "cluster" else 2 * size, "written": 0}
    assert got["y"] == {"read": 0, "written": size}
    assert got["residual"]["read"] == (size if skip == "add" else 0)
    assert got["fetched"] == size


@pytest.mark.parametrize(("dtype", "layout"), [kind for kind in KINDS if kind[1] == "linear"])
@pytest.mark.parametrize("road", ROADS)
def test_rows_that_begin_anywhere_cost_no_second_fetch(binary: Path, tmp_path: Path, road: str, dtype: str, layout: str) -> None:
    case = Case(dtype=dtype, n=4, c=37, r=8, hw=49, skip="add", seed=1).on(road)
    size = case.n * case.image_bytes
    got = moved(binary, tmp_path, case)
    rows = case.n * case.c
    assert got["fetched"] == -(-size // 32) * 32
    assert got["y"]["written"] == got["residual"]["read"] == size
    if road == "cluster":
        assert got["x"]["read"] == size
    else:
        # The granule that two rows share is read for each of them, by neighbouring lanes.
        assert 2 * size <= got["x"]["read"] <= 2 * size + 16 * (rows + 1)


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_the_second_read_comes_from_l2_on_the_persistent_road(binary: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    case = Case(dtype=dtype, layout=layout, n=12, c=64, r=8, hw=224, skip="add", epilogue="relu")
    image = case.image_bytes
    case = replace(
        case, road=None, device=Device(sm=80, multiprocessors=4, l2=6 * image)
    )  # 3/4 of it holds two images for each of two groups
    for schedule in (0, 3, 6, 9):  # fair ones: blocks advance together, as on a device
        got = moved(binary, tmp_path, replace(case, schedule=schedule))
        assert (ROADS[got["road"]], got["groups"], got["blocks"]) == ("persistent", 2, 2)
        assert got["furthest"] <= case.device.l2 // 4 * 3
        assert got["fetched"] == case.n * image


def test_where_l2_holds_one_image_its_blocks_begin_the_next_together(binary: Path, tmp_path: Path) -> None:
    case = Case(dtype="float16", n=6, c=64, r=8, hw=224)
    case = replace(case, device=Device(sm=75, multiprocessors=4, l2=2 * case.image_bytes))  # 3/4 of it is less than two images
    for schedule in (0, 3, 6, 9):
        got = moved(binary, tmp_path, replace(case, schedule=schedule))
        assert (ROADS[got["road"]], got["groups"], got["blocks"]) == ("persistent", 1, 4)
        assert got["furthest"] <= case.image_bytes
        assert got["fetched"] == case.n * case.image_bytes


def test_the_split_road_takes_a_large_batch_in_passes_that_fit_l2(binary: Path, tmp_path: Path) -> None:
    case = Case(dtype="float16", n=11, c=64, r=64, hw=64)  # more weights than image
    case = replace(case, device=Device(multiprocessors=4, l2=6 * case.image_bytes))
    got = moved(binary, tmp_path, case)
    assert (ROADS[got["road"]], got["launches"]) == ("split", 3 * 4)  # three images a pass
    assert got["furthest"] <= case.device.l2 // 2
    assert got["fetched"] == case.n * case.image_bytes


def test_a_map_that_l2_cannot_hold_is_read_from_memory_twice(binary: Path, tmp_path: Path) -> None:
    """And the counter can tell."""
    case = Case(dtype="float16", n=1, c=64, r=8, hw=224)
    got = moved(binary, tmp_path, replace(case, device=Device(l2=case.image_bytes)))
    assert (ROADS[got["road"]], got["launches"]) == ("split", 3)
    assert got["fetched"] > 1.3 * case.image_bytes


@pytest.mark.parametrize("act", ["relu", "none"])
@pytest.mark.parametrize("road", ROADS)
def test_weights_are_read_once(binary: Path, tmp_path: Path, road: str, act: str) -> None:
    """Once per image where one launch does all; once per eight images on the split road."""
    case = Case(dtype="float16", act=act, n=17, c=48, r=12, hw=64, seed=1).on(road)
    case = replace(case, device=replace(DEVICES[road], multiprocessors=1)) if road == "split" else case
    got = moved(binary, tmp_path, case)
    w1, w2 = 4 * 48 * 12 * (act != "none"), 4 * 48 * case.columns
    assert got["w1"]["read"] == w1 * (3 if road == "split" else case.n)
    assert got["w2"]["read"] == w2 * (-(-case.n // images_of_a_job(case)) if road == "split" else case.n)


def images_of_a_job(case: Case) -> int:
    """The split road's `scale`: as many images as leave every one of 8 blocks a multiprocessor a job, at most 8; one chunk of channels."""
    return max(1, min(8, case.n // 8 // case.device.multiprocessors))
