"""How graphs are asked and compared: batches of several sizes, and a tolerance that only rounding may stretch."""

from collections.abc import Callable

import numpy as np
import pytest

from se_deploy.errors import ExportError
from se_deploy.stages.steps.plain import Questions, compare, cut, joined, odd_sides, parts

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


def network(gain: float) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Answers 0 and 1, moved by `gain` times what its input is off from IMAGES."""

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        off = float(np.abs(images.astype(np.float64) - IMAGES).max())
        return {"y": np.array([[0.0, 1.0], [1.0, gain * off]], np.float32)}

    return answer


def moved(share: float) -> dict[str, np.ndarray]:
    return {"y": network(0)(IMAGES)["y"] + np.float32(share)}


ULP = float(np.abs(np.nextafter(IMAGES, np.float32(np.inf)).astype(np.float64) - IMAGES).max())


def test_within_the_tolerance_nobody_is_asked_again() -> None:
    assert compare("a beside b", [IMAGES], [moved(9e-5)], [moved(0)], 1e-4, again=None) == ()  # type: ignore[arg-type]


def test_beyond_it_a_steady_network_is_refused() -> None:
    with pytest.raises(ExportError, match=r"^y differs by 0.00011 of its range on an input of 2x3x8x8"):
        compare("a beside b", [IMAGES], [moved(1.1e-4)], [moved(0)], 1e-4, network(0))


def test_a_sensitive_network_may_differ_as_rounding_moves_it() -> None:
    sensitive = network(5e-5 / ULP)
    (note,) = compare("a beside b", [IMAGES], [moved(1.3e-4)], [moved(0)], 1e-4, sensitive)
    assert note == "a beside b: y differs by 0.00013 of its range, about as far as rounding its input moves it"
    with pytest.raises(ExportError, match="differs by 0.00016"):
        compare("a beside b", [IMAGES], [moved(1.6e-4)], [moved(0)], 1e-4, sensitive)


def test_a_random_network_has_no_excuse() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ExportError):
        compare("a beside b", [IMAGES], [moved(2e-4)], [moved(0)], 1e-4, lambda _: moved(1e-4 * rng.standard_normal()))


def test_nor_has_one_that_a_rounding_overturns() -> None:
    with pytest.raises(ExportError):
        compare("a beside b", [IMAGES], [moved(2e-4)], [moved(0)], 1e-4, network(2e-3 / ULP))


@pytest.mark.parametrize(("count", "batch", "sizes"), [(8, None, (1, 2, 3, 2)), (9, 3, (3, 3, 3)), (8, 1, (1,) * 8)])
def test_parts(count: int, batch: int | None, sizes: tuple[int, ...]) -> None:
    assert parts(count, batch) == sizes
    pieces = cut(np.arange(count), sizes)
    assert tuple(map(len, pieces)) == sizes
    np.testing.assert_array_equal(joined([{"y": piece} for piece in pieces])["y"], np.arange(count))


def test_questions_are_cut_alike() -> None:
    questions = Questions(np.arange(8), {"y": np.arange(8) * 10}, [np.arange(2)], [{"y": np.array([7])}])
    for size in (None, 4, 1):
        batches, wanted = questions.batches(size), questions.wanted(size)
        assert len(batches) == len(wanted)
        assert all(np.array_equal(part * 10, answer["y"]) for part, answer in zip(batches[:-1], wanted[:-1], strict=True))
        assert wanted[-1] == {"y": np.array([7])}


@pytest.mark.parametrize("sides", [(224, 224), (32, 100), (33, 7), (299, 299), (1, 1)])
def test_odd_sides_are_odd_and_apart(sides: tuple[int, int]) -> None:
    small, large = odd_sides(*sides)
    assert all(side % 2 for side in (*small, *large))
    assert all(low <= side for low, side in zip(small, sides, strict=True))
    assert all(high >= side for high, side in zip(large, sides, strict=True))
    if min(sides) > 6:
        assert small != sides != large
