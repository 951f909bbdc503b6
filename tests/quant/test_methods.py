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


def quantized(values: np.ndarray, method: str) -> np.ndarray:
    """The values through the integers that the scale is written as."""
    scale, _ = ranges.choose("t", seen(values), method)
    written = ranges.signed(scale)
    limits = np.iinfo(written.zero_point.dtype)
    integers = np.clip(np.rint(values / written.scale) + int(written.zero_point), limits.min, limits.max)
    return (integers - int(written.zero_point)) * written.scale


@pytest.mark.parametrize("name", SPREADS)
def test_the_error_told_from_counts_is_the_error_made(name: str) -> None:
    values, observer = SPREADS[name], seen(SPREADS[name])
    for method in methods.METHODS:
        told = methods.error(observer, np.array([methods.bound(observer, method)[1]]))[0]
        made = float(((quantized(values, method) - values).astype(np.float64) ** 2).sum())
        assert told == pytest.approx(made, rel=0.1), method


@pytest.mark.parametrize("name", SPREADS)
def test_mse_makes_no_larger_an_error_than_any_bound_tried(name: str) -> None:
    observer = seen(SPREADS[name])
    bounds = np.linspace(0.02, 1, 200) * methods.minmax(observer)
    best = methods.error(observer, np.array([methods.mse(observer)]))[0]
    assert best <= methods.error(observer, bounds).min() * 1.01


@pytest.mark.parametrize("name", SPREADS)
def test_auto_is_within_its_share_of_the_best_and_never_worse_than_minmax(name: str) -> None:
    observer = seen(SPREADS[name])
    taken, bound = methods.bound(observer, "auto")
    errors = {m: methods.error(observer, np.array([methods.bound(observer, m)[1]]))[0] for m in methods.METHODS}
    assert bound == methods.bound(observer, taken)[1]
    assert errors[taken] <= min(errors.values()) * (1 + methods.GAIN)
    assert errors[taken] <= errors["minmax"]


def test_auto_keeps_all_of_a_flat_range_and_clips_an_outlier() -> None:
    assert methods.bound(seen(SPREADS["uniform"]), "auto") == ("minmax", float(SPREADS["uniform"].max()))
    name, bound = methods.bound(seen(SPREADS["outlier"]), "auto")
    assert name != "minmax"
    assert bound == pytest.approx(30, rel=0.05)  # one value 30 beyond costs what the wider steps of 200,000 do


def test_percentile_leaves_out_a_ten_thousandth() -> None:
    values = np.arange(1, 100_001, dtype=np.float32)
    bound = methods.percentile(seen(values))
    assert 99_990 <= bound <= 99_990 + 2 * seen(values).histogram.width


def test_entropy_clips_a_lone_outlier_and_keeps_few_values_whole() -> None:
    assert methods.entropy(seen(SPREADS["outlier"])) < 10
    assert methods.entropy(seen(np.float32([-1, 0.5, 2]))) == 2


@pytest.mark.parametrize("method", methods.NAMES)
@pytest.mark.parametrize("values", [[3], [-3], [0, 0, 5], [1e-29, 0], [3.4e38, -3.4e38, 1], [1e-20] * 9 + [1e20], [0.1] * 99 + [np.nan]])
def test_every_method_gives_a_positive_finite_bound(method: str, values: list[float]) -> None:
    observer = seen(np.float32(values))
    _, bound = methods.bound(observer, method)
    assert 0 < bound <= methods.minmax(observer)


@pytest.mark.parametrize("spike", [-0.8102, 0.533, 1.7])
def test_auto_puts_a_value_that_comes_again_and_again_on_its_grid(spike: float) -> None:
    """A border of one value in 40 % of the pixels: the scale is at most 8 % wider for it."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-0.81, 2.02, 6000), np.full(4000, spike)]).astype(np.float32)
    plain, given = methods.minmax(seen(values)), methods.auto(seen(values))[1]
    assert plain * 0.98 <= given <= plain * 1.08
    step = given / 127
    assert abs(spike / step - round(spike / step)) < 0.06


def test_values_that_are_spread_and_zeros_ask_for_no_alignment() -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(20000), 0).astype(np.float32)
    kept = methods.auto(seen(values))[1]
    assert kept == methods.aligned(seen(values), kept)
    assert kept in {find(seen(values)) for find in methods.METHODS.values()}
