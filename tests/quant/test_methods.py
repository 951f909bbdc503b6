"""Bounds are those that the definitions give on values whose best bound is known or can be tried out."""

import numpy as np
import pytest

from se_deploy.quant import methods, ranges
from se_deploy.quant.observe import Observer

RNG = np.random.default_rng(1)
LAPLACE = RNG.laplace(size=200_000).astype(np.float32)
SPREADS = {
    "normal": RNG.standard_normal(200_000).astype(np.float32),
    "laplace": LAPLACE,
    "relu": np.maximum(LAPLACE, 0),
    "silu": LAPLACE / (1 + np.exp(-LAPLACE)),
    "uniform": RNG.uniform(-1, 3, 200_000).astype(np.float32),
    "outlier": np.append(RNG.standard_normal(200_000), 60).astype(np.float32),
    "negative": -np.abs(LAPLACE),
}


def seen(values: np.ndarray) -> Observer:
    observer = Observer()
    observer.update(values)
    return observer


def quantized(values: np.ndarray, method: str, grid: str) -> np.ndarray:
    """The values through the integers that the scale is written as."""
    scale, _ = ranges.choose("t", seen(values), method)
    written = ranges.signed(scale) if grid == "signed" else ranges.unsigned(scale)
    limits = np.iinfo(written.zero_point.dtype)
    integers = np.clip(np.rint(values / written.scale) + int(written.zero_point), limits.min, limits.max)
    return (integers - int(written.zero_point)) * written.scale


@pytest.mark.parametrize("grid", ["signed", "unsigned"])
@pytest.mark.parametrize("name", SPREADS)
def test_the_error_told_from_counts_is_the_error_made(name: str, grid: methods.Grid) -> None:
    values, observer = SPREADS[name], seen(SPREADS[name])
    for method in methods.METHODS:
        told = methods.error(observer, np.array([methods.bound(observer, method, grid)[1]]), grid)[0]
        made = float(((quantized(values, method, grid) - values).astype(np.float64) ** 2).sum())
        assert told == pytest.approx(made, rel=0.1), method


@pytest.mark.parametrize("grid", ["signed", "unsigned"])
@pytest.mark.parametrize("name", SPREADS)
def test_mse_makes_no_larger_an_error_than_any_bound_tried(name: str, grid: methods.Grid) -> None:
    observer = seen(SPREADS[name])
    bounds = np.linspace(0.02, 1, 200) * methods.minmax(observer, grid)
    best = methods.error(observer, np.array([methods.mse(observer, grid)]), grid)[0]
    assert best <= methods.error(observer, bounds, grid).min() * 1.01


@pytest.mark.parametrize("grid", ["signed", "unsigned"])
@pytest.mark.parametrize("name", SPREADS)
def test_auto_is_within_its_share_of_the_best_and_never_worse_than_minmax(name: str, grid: methods.Grid) -> None:
    observer = seen(SPREADS[name])
    taken, bound = methods.bound(observer, "auto", grid)
    errors = {m: methods.error(observer, np.array([methods.bound(observer, m, grid)[1]]), grid)[0] for m in methods.METHODS}
    assert bound == methods.bound(observer, taken, grid)[1]
    assert errors[taken] <= min(errors.values()) * (1 + methods.GAIN)
    assert errors[taken] <= errors["minmax"]


def test_auto_keeps_all_of_a_flat_range_and_clips_an_outlier() -> None:
    assert methods.bound(seen(SPREADS["uniform"]), "auto", "signed") == ("minmax", float(SPREADS["uniform"].max()))
    name, bound = methods.bound(seen(SPREADS["outlier"]), "auto", "signed")
    assert name != "minmax"
    assert bound == pytest.approx(30, rel=0.05)  # one value 30 beyond costs what the wider steps of 200,000 do


def test_percentile_leaves_out_a_ten_thousandth() -> None:
    values = np.arange(1, 100_001, dtype=np.float32)
    bound = methods.percentile(seen(values), "signed")
    assert 99_990 <= bound <= 99_990 + 2 * seen(values).histogram.width


def test_entropy_clips_a_lone_outlier_and_keeps_few_values_whole() -> None:
    assert methods.entropy(seen(SPREADS["outlier"]), "signed") < 10
    assert methods.entropy(seen(np.float32([-1, 0.5, 2])), "signed") == 2


def test_a_one_sided_tensor_may_be_clipped_less_on_the_unsigned_grid() -> None:
    relu = seen(SPREADS["relu"])
    assert methods.mse(relu, "unsigned") > methods.mse(relu, "signed")


@pytest.mark.parametrize("method", methods.NAMES)
@pytest.mark.parametrize("values", [[3], [-3], [0, 0, 5], [1e-29, 0], [3.4e38, -3.4e38, 1], [1e-20] * 9 + [1e20], [0.1] * 99 + [np.nan]])
def test_every_method_gives_a_positive_finite_bound(method: str, values: list[float]) -> None:
    for grid in ("signed", "unsigned"):
        observer = seen(np.float32(values))
        _, bound = methods.bound(observer, method, grid)  # type: ignore[arg-type]
        assert 0 < bound <= methods.minmax(observer, "signed")
