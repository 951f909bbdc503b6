import numpy as np
import pytest

from se_deploy.insight.moments import BINS, Moments
from se_deploy.insight.summary import specificity

SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 700)
    gates = 1 / (1 + np.exp(-rng.standard_normal((700, 20)) - labels[:, None] * rng.standard_normal(20)))
    return gates.astype(np.float32), rng.standard_normal((700, 20)).astype(np.float32), labels


def streamed(drawn: tuple[np.ndarray, ...], size: int) -> Moments:
    seen = Moments(20, 4)
    for start in range(0, len(drawn[0]), size):
        seen.add(*(part[start : start + size] for part in drawn))
    return seen


@pytest.mark.parametrize("size", [1, 8, 700])
def test_moments_are_those_of_all_images_whatever_the_batch(drawn: tuple[np.ndarray, ...], size: int) -> None:
    seen, gates, labels = streamed(drawn, size), drawn[0].astype(np.float64), drawn[2]
    assert seen.count.tolist() == np.bincount(labels, minlength=4).tolist()
    np.testing.assert_allclose(seen.overall(), gates.mean(0), rtol=1e-12)
    np.testing.assert_allclose(seen.total(), gates.var(0), rtol=1e-10)
    for label in range(3):
        np.testing.assert_allclose(seen.mean[label], gates[labels == label].mean(0), rtol=1e-12)
        np.testing.assert_allclose(seen.squares[label], gates[labels == label].var(0) * (labels == label).sum(), rtol=1e-10)
    np.testing.assert_array_equal(seen.low, gates.min(0))
    np.testing.assert_array_equal(seen.pooled_high, drawn[1].max(0))


def test_quantiles_are_right_to_a_bin(drawn: tuple[np.ndarray, ...]) -> None:
    seen, gates, labels = streamed(drawn, 8), drawn[0], drawn[2]
    np.testing.assert_allclose(seen.channel_quantiles(SHARES), np.quantile(gates, SHARES, 0, method="inverted_cdf"), atol=1.001 / BINS)
    np.testing.assert_allclose(seen.block_quantiles(SHARES), np.quantile(gates, SHARES, method="inverted_cdf"), atol=1.001 / BINS)
    by_class = seen.class_quantiles(SHARES)
    np.testing.assert_allclose(by_class[:, 1], np.quantile(gates[labels == 1], SHARES, method="inverted_cdf"), atol=1.001 / BINS)
    assert np.isnan(by_class[:, 3]).all(), "a class without images has no quantiles"


def test_specificity_is_between_over_total_variance(drawn: tuple[np.ndarray, ...]) -> None:
    seen, gates, labels = streamed(drawn, 8), drawn[0].astype(np.float64), drawn[2]
    means = np.stack([gates[labels == label].mean(0) for label in range(3)])
    between = (np.bincount(labels)[:, None] * (means - gates.mean(0)) ** 2).sum(0) / len(gates)
    np.testing.assert_allclose(specificity(seen), between / gates.var(0), rtol=1e-9)


def test_a_tiny_spread_beside_a_large_mean_is_not_lost() -> None:
    rng = np.random.default_rng(0)
    gates = (0.75 + 1e-5 * rng.standard_normal((500, 3))).astype(np.float32)
    seen = Moments(3, 1)
    for row in gates:
        seen.add(row[None], row[None], np.zeros(1, np.int64))
    np.testing.assert_allclose(seen.total(), gates.astype(np.float64).var(0), rtol=1e-9)


def test_memory_is_the_same_after_any_number_of_images() -> None:
    def size(images: int) -> int:
        seen = Moments(16, 2)
        for _ in range(images):
            seen.add(np.full((1, 16), 0.5, np.float32), np.zeros((1, 16), np.float32), np.zeros(1, np.int64))
        return sum(value.nbytes for value in vars(seen).values() if isinstance(value, np.ndarray))

    assert size(1) == size(300)
