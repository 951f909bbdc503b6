"""The cost model's bytes are the kernels': both are asked about the same nodes."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from se_deploy.insight import devices, roads
from tests.plugins import layouts
from tests.plugins.cases import ROADS, Case, Device, run
from tests.plugins.drawn import KINDS

LAYOUTS = [
    Device(),
    Device(sm=90, multiprocessors=8),
    Device(sm=80, multiprocessors=4, l2=1 << 17),
    Device(sm=120, multiprocessors=3, l2=1 << 16),
]


def modelled(case: Case) -> roads.Moved:
    device = replace(
        devices.device("sm_80"), sm=case.device.sm, multiprocessors=case.device.multiprocessors, cache=case.device.l2,
        shared_per_block=case.device.shared_per_block, shared_per_multiprocessor=case.device.shared_per_multiprocessor,
    )  # fmt: skip
    atom = layouts.ATOMS[case.layout]
    reduced = None if case.act == "none" else case.r
    size = layouts.SIZES[case.dtype]
    return roads.moved(roads.Shape(case.n, case.c, reduced, case.hw, size, case.skip == "add", atom), device)


def drawn(dtype: str, layout: str) -> list[Case]:
    """Nodes whose rows begin on 16 bytes, so that every byte is asked for as often as it is used, on devices where every road is taken."""
    rng = random.Random(f"{dtype} {layout}")
    fitting = 16 // layouts.SIZES[dtype]
    return [
        Case(
            dtype=dtype, layout=layout, act=rng.choice(["relu", "relu", "none"]), skip=rng.choice(["none", "add"]), counted=True,
            n=rng.choice([1, 2, 5, 9, 17]), c=rng.choice([8, 24, 40, 64]), r=rng.choice([2, 8, 16]), hw=fitting * rng.randint(1, 24),
            device=LAYOUTS[number % len(LAYOUTS)], schedule=3 * number,
        )
        for number in range(24)
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "layout"), KINDS)
def test_road_launches_and_bytes_are_those_that_the_kernels_count(binary: Path, tmp_path: Path, dtype: str, layout: str) -> None:
    cases = drawn(dtype, layout)
    for case, line in zip(cases, run(binary, cases, tmp_path), strict=True):
        got, model = line["traffic"], modelled(case)
        assert ROADS[line["road"]] == model.road, case
        assert got["launches"] == model.launches, case
        counted = (got["x"]["read"], got["residual"]["read"], got["y"]["written"], got["w1"]["read"], got["w2"]["read"])
        assert counted == (model.x, model.residual, model.y, model.w1, model.w2), case
        # Maps that L2 cannot hold are the exception: of those, what is left of the first read is no figure to promise.
        if model.fetched == case.n * case.image_bytes:
            assert got["fetched"] == model.fetched, case


def test_every_road_is_among_the_cases() -> None:
    taken = {modelled(case).road for kind in KINDS for case in drawn(*kind)}
    assert taken == set(ROADS)
