"""The fewest units that a bound needs, and which units there are."""

import numpy as np
import pytest

from se_deploy.quant import sensitivity, sites
from se_deploy.quant.sensitivity import Unit
from tests.quant import small

LAYERS = ["conv0", "dw", "pw", "conv1", "conv2", "fc"]


def test_layers_and_the_residual_add_are_units() -> None:
    found = sensitivity.units(small.network(), blocks=False)
    assert [unit.name for unit in found] == ["conv0", "dw", "pw", "conv1", "add", "conv2", "fc"]
    assert [unit.name for unit in found if unit.layer] == LAYERS


def test_se_blocks_are_units_where_they_read_int8() -> None:
    found = sensitivity.units(small.network(), blocks=True)
    assert [unit.name for unit in found] == ["conv0", "dw", "pw", "se", "conv1", "add", "conv2", "se2", "fc"]
    assert [unit.name for unit in found if unit.layer] == LAYERS


def test_a_unit_in_float_asks_for_no_pair() -> None:
    model = small.network()
    assert list(sites.find(model, floats={"conv2", "add"}).tensors) == ["x", "relu0", "silu", "se", "flat"]
    assert list(sites.find(model, outputs=True, floats={*LAYERS, "add"}).tensors) == []
    assert "se2" not in sites.find(model, blocks=True, floats={"se2"}).tensors


def test_a_node_without_a_name_is_called_by_its_output() -> None:
    model = small.network()
    model.graph.node[0].name = ""
    sites.name_nodes(model)
    assert [node.name for node in model.graph.node][:2] == ["conv0_out", "relu0"]


@pytest.mark.parametrize(
    ("needed", "want"),
    [
        ("", ""),
        ("a", "a"),
        ("abc", "abc"),
        ("abcdefg", "abcdefg"),
        ("c", "c"),  # what stands before it is spared again
        ("af", "af"),
        ("h", "h"),
        ("i", None),
    ],
)
def test_none_of_the_chosen_can_be_spared(needed: str, want: str | None) -> None:
    tried: list[frozenset[str]] = []

    def holds(floats: frozenset[str]) -> bool:
        tried.append(floats)
        return set(needed) <= floats

    got = sensitivity.fewest("abcdefgh", holds)
    assert got == (None if want is None else frozenset(want))
    assert len(tried) == len(set(tried)), "each choice is tried once"


def test_nothing_to_give_back_and_a_bound_that_fails_is_none() -> None:
    assert sensitivity.fewest([], lambda _: False) is None


def test_one_layer_stays_in_int8() -> None:
    ranked = [Unit("a", "Conv", True), Unit("b", "Conv", True), Unit("c", "Add", False)]
    assert sensitivity.candidates(ranked) == ["a", "c"]


def test_sqnr_counts_what_differs_between_images() -> None:
    wanted = np.array([[1.0, 100.0], [-1.0, 100.0]])
    assert sensitivity.sqnr_db(wanted, wanted + 0.1) == pytest.approx(10 * np.log10(2 / 0.04))
    assert sensitivity.sqnr_db(wanted, wanted) == 200
    assert sensitivity.sqnr_db(wanted, np.full((2, 2), np.nan)) == -200
