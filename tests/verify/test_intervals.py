import math

import numpy as np
import pytest

from se_deploy.verify.intervals import ratio, share, student_t

#: Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, method 3.
PUBLISHED = {(81, 263): (25.53, 36.62), (15, 148): (6.24, 16.05), (0, 20): (0.00, 16.11), (1, 29): (0.61, 17.18)}


@pytest.mark.parametrize("counts", PUBLISHED)
def test_wilson_gives_the_published_intervals(counts: tuple[int, int]) -> None:
    found = share(*counts)
    assert found is not None
    assert (round(found.low, 2), round(found.high, 2)) == PUBLISHED[counts]
    assert found.value == pytest.approx(100 * counts[0] / counts[1])


@pytest.mark.parametrize("count", [1, 3, 8, 49, 1000, 50000])
def test_wilson_has_a_width_at_the_ends_and_mirrors(count: int) -> None:
    none, all_of_them = share(0, count), share(count, count)
    assert none is not None
    assert all_of_them is not None
    assert none.low == none.value == 0.0
    assert all_of_them.high == all_of_them.value == 100.0
    assert none.high == pytest.approx(100 * 1.96**2 / (count + 1.96**2), rel=1e-3)
    assert all_of_them.low == pytest.approx(100 - none.high)


def test_wilson_covers_95_percent_of_the_time() -> None:
    rng, true = np.random.default_rng(0), 0.9
    hits = rng.binomial(100, true, 4000)
    covered = np.mean([(found := share(int(h), 100)) is not None and found.low <= 100 * true <= found.high for h in hits])
    assert 0.93 < covered < 0.97


def test_nothing_has_no_share() -> None:
    assert share(0, 0) is None


@pytest.mark.parametrize(("freedom", "value"), [(2, 4.3027), (3, 3.1824), (5, 2.5706), (9, 2.2622), (30, 2.0423), (1000, 1.9623)])
def test_student_t_is_the_tables(freedom: int, value: float) -> None:
    assert student_t(freedom) == pytest.approx(value, rel=0.01 if freedom == 2 else 0.002)


def drifting(rng: np.random.Generator, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Two latencies of ratio 2 on a machine whose speed drifts by half: what blocks in turns are for."""
    speed = np.exp(np.cumsum(rng.normal(0, 0.15, blocks)))
    return 2 * speed * np.exp(rng.normal(0, 0.02, blocks)), speed * np.exp(rng.normal(0, 0.02, blocks))


@pytest.mark.parametrize("blocks", [3, 10])
def test_a_paired_ratio_covers_and_is_not_widened_by_drift(blocks: int) -> None:
    rng = np.random.default_rng(1)
    found = [ratio(*(list(side) for side in drifting(rng, blocks))) for _ in range(2000)]
    covered = np.mean([interval.low <= 2 <= interval.high for interval in found])
    assert 0.92 < covered < 0.98
    width = np.median([math.log(interval.high / interval.low) for interval in found])
    assert width < 2.5 * student_t(blocks - 1) * 0.02 * math.sqrt(2 / blocks)


def test_a_ratio_is_that_of_the_means() -> None:
    found = ratio([4.0, 6.0, 8.0], [2.0, 3.0, 4.0])
    assert found.value == found.low == found.high == 2.0
    assert ratio([1.0, 2.0, 6.0], [1.0, 1.0, 1.0]).value == 3.0


@pytest.mark.parametrize("pair", [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0])])
def test_too_few_or_unpaired_blocks_have_no_interval(pair: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="at least three paired blocks"):
        ratio(*pair)
