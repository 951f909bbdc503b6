from typing import Any

import numpy as np
import pytest

from se_deploy.errors import CheckFailed
from se_deploy.verify import rows

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(12, 5)).astype(np.float32)


def network(feeds: Any) -> dict[str, np.ndarray]:
    return {"y": feeds["x"].reshape(len(feeds["x"]), -1) @ WEIGHT}


def first_for_all(feeds: Any) -> dict[str, np.ndarray]:
    return {"y": np.repeat(network(feeds)["y"][:1], len(feeds["x"]), axis=0)}


def two_swapped(feeds: Any) -> dict[str, np.ndarray]:
    y = network(feeds)["y"]
    return {"y": y[[0, 2, 1, *range(3, len(y))]] if len(y) > 2 else y}


FEEDS = {"x": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32)}


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_rows_are_distinct_even_beyond_the_probes(count: int) -> None:
    made = rows.distinct(FEEDS, count)["x"]
    assert made.shape == (count, 3, 2, 2)
    assert len(np.unique(made.reshape(count, -1), axis=0)) == count
    assert np.array_equal(made[:4], FEEDS["x"][:count])


@pytest.mark.parametrize("batch", [1, 3, 4, 9])
def test_any_number_of_rows_runs_in_whole_batches(batch: int) -> None:
    sizes = []

    def run(feeds: Any) -> dict[str, np.ndarray]:
        sizes.append(len(feeds["x"]))
        return network(feeds)

    made = rows.in_batches(run, FEEDS, batch, "e")["y"]
    assert np.allclose(made, network(FEEDS)["y"], atol=1e-6)
    assert set(sizes) == {batch}
    assert len(sizes) == -(-4 // batch)


def test_too_few_rows_are_refused_by_name() -> None:
    with pytest.raises(CheckFailed, match=r"e: output y has shape \(1, 5\) for a batch of 2"):
        rows.in_batches(lambda feeds: {"y": network(feeds)["y"][:1]}, FEEDS, 2, "e")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("fault", "wrong"), [(first_for_all, {1, 2, 3}), (two_swapped, {1, 2})])
def test_a_row_that_is_anothers_is_named(fault: Any, wrong: set[int], precision: Any) -> None:
    for alone in (rows.in_batches(fault, FEEDS, 1, "e"), rows.elsewhere(fault, FEEDS)):
        found = rows.wrong_row(fault(FEEDS), alone, precision)
        assert found is not None
        assert found.output == "y"
        assert found.error > found.allowed > 0
    assert rows.wrong_row(fault(FEEDS), rows.in_batches(fault, FEEDS, 1, "e"), precision).row in wrong


def test_rounding_is_no_fault() -> None:
    together = network(FEEDS)
    for alone in (rows.in_batches(network, FEEDS, 1, "e"), rows.elsewhere(network, FEEDS)):
        assert rows.wrong_row(together, alone, "fp32") is None
    nudged = {"y": together["y"] * (1 + 1e-4)}
    assert rows.wrong_row(nudged, together, "fp32") is None
    assert rows.wrong_row({"y": together["y"] * 1.1}, together, "fp32") is not None


def test_an_output_that_hardly_depends_on_the_input_may_round() -> None:
    constant = np.full((3, 4), 100.0)
    assert rows.wrong_row({"y": constant + 5e-4}, {"y": constant}, "fp32") is None
    assert rows.wrong_row({"y": constant + 5e-3}, {"y": constant}, "fp32") is not None


def test_nan_equals_nan_and_nothing_else() -> None:
    y = RNG.normal(size=(3, 4))
    y[1, 2] = np.nan
    assert rows.wrong_row({"y": y}, {"y": y}, "fp32") is None
    clean = np.nan_to_num(y)
    found = rows.wrong_row({"y": y}, {"y": clean}, "int8")
    assert found is not None
    assert (found.row, found.error) == (1, np.inf)
