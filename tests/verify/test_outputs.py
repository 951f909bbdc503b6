"""One output's errors against plain formulas over everything at once."""

import numpy as np
import pytest

from se_deploy.errors import ArtifactError
from se_deploy.verify.accuracy import Accumulator, Task
from se_deploy.verify.outputs import Errors
from se_deploy.verify.report import OutputError
from se_deploy.verify.tolerance import Tolerance, tolerances

RNG = np.random.default_rng(4)


def measured(got: np.ndarray, expected: np.ndarray, size: int = 7, tolerance: Tolerance | None = None) -> OutputError:
    errors = Errors("y", tolerance)
    for start in range(0, len(got), size):
        part = slice(start, start + size)
        errors.add(got[part], expected[part], [f"{i}.png" for i in range(len(got))][part])
    return errors.report()


@pytest.mark.parametrize("shape", [(60, 12), (60, 3, 5, 4), (60,), (60, 1)])
@pytest.mark.parametrize("size", [1, 7, 60])
def test_every_figure_is_the_plain_formulas(shape: tuple[int, ...], size: int) -> None:
    expected = RNG.normal(size=shape)
    got = expected + RNG.standard_cauchy(shape) * 0.01
    found = measured(got, expected, size)
    error = np.abs(got - expected)
    assert found.shape == shape[1:]
    assert found.max == pytest.approx(error.max(), rel=1e-12)
    assert found.mean == pytest.approx(error.mean(), rel=1e-12)
    assert found.p99 is not None
    exact = np.sort(error.reshape(-1))[int(np.ceil(0.99 * error.size)) - 1]
    assert exact <= found.p99 * (1 + 1e-6)
    assert found.p99 == pytest.approx(exact, rel=0.009)
    rows, wanted = got.reshape(60, -1), expected.reshape(60, -1)
    cosines = (rows * wanted).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(wanted, axis=1)
    assert found.cosine == pytest.approx(cosines.mean(), rel=1e-12)
    assert found.cosine_min == pytest.approx(cosines.min(), rel=1e-12)
    assert found.sqnr_db == pytest.approx(10 * np.log10((expected**2).sum() / (error**2).sum()))
    assert found.iou is None
    assert found.non_finite == ()


def test_no_error_at_all() -> None:
    expected = RNG.normal(size=(9, 4))
    found = measured(expected, expected)
    assert (found.max, found.mean, found.p99, found.cosine, found.sqnr_db) == (0.0, 0.0, 0.0, 1.0, None)


def test_maps_of_shares_have_an_overlap() -> None:
    expected = RNG.random((20, 1, 8, 8))
    got = np.clip(expected + RNG.normal(0, 0.2, expected.shape), 0, 1)
    both, either = ((got > 0.5) & (expected > 0.5)).sum(), ((got > 0.5) | (expected > 0.5)).sum()
    assert measured(got, expected).iou == both / either
    assert measured(got, 3 * expected).iou is None
    assert measured(got[:, 0, 0], expected[:, 0, 0]).iou is None


def test_nan_and_inf_are_named_each_and_take_no_part_in_the_figures() -> None:
    expected = RNG.normal(size=(20, 6))
    got = expected.copy()
    got[3, 2], got[5, 0], got[9, 1] = np.nan, np.inf, -np.inf
    found = measured(got, expected)
    assert [(n.whose, n.kind, n.images, n.first) for n in found.non_finite] == [
        ("engine", "NaN", 1, "3.png"),
        ("engine", "Inf", 2, "5.png"),
    ]
    assert (found.max, found.mean, found.p99, found.cosine, found.sqnr_db) == (None,) * 5


def test_an_element_is_within_a_tolerance_if_it_keeps_either_limit_as_in_polygraphy() -> None:
    expected = np.array([[1.0, 100.0, 0.0, -10.0]])
    got = expected + np.array([[0.05, 0.5, 0.05, -2.0]])
    found = measured(got, expected, tolerance=Tolerance(rtol=0.01, atol=0.06)).tolerance
    assert found is not None
    assert (found.beyond_percent, found.passed) == (25.0, False)  # -2.0 alone passes both limits
    found = measured(got, expected, tolerance=Tolerance(rtol=0.01, atol=0.04)).tolerance
    assert found is not None
    assert found.beyond_percent == 75.0
    kept = measured(got, expected, tolerance=Tolerance(rtol=0.2, atol=0.05)).tolerance
    assert kept is not None
    assert kept.passed


def test_tolerances_are_for_all_outputs_or_for_one() -> None:
    assert tolerances([], [], ["a", "b"]) == {}
    assert tolerances(["1e-3", "b:1e-2"], [], ["a", "b"]) == {"a": Tolerance(1e-3, 1e-5), "b": Tolerance(1e-2, 1e-5)}
    assert tolerances([], ["x:0:0.5"], ["x:0", "y"]) == {"x:0": Tolerance(1e-5, 0.5)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "--rtol a: 'a' is no number; write 1e-3, or OUT:1e-3 for one output"),
        ("c:1", "--rtol c:1: the network has no output c; its outputs are a, b"),
        ("-1", "--rtol -1 is below 0"),
        ("nan", "--rtol nan is below 0"),
    ],
)
def test_what_is_no_tolerance_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArtifactError) as error:
        tolerances([text], [], ["a", "b"])
    assert message in str(error.value)


def test_a_tolerance_that_is_not_kept_is_a_fault_of_that_output() -> None:
    expected = {"a": RNG.normal(size=(8, 4)), "b": RNG.normal(size=(8, 4))}
    got = {"a": expected["a"] + 0.5, "b": expected["b"] + 0.5}
    accumulator = Accumulator("e.onnx", Task(tolerances={"a": Tolerance(0, 0.6), "b": Tolerance(0, 0.4)}))
    accumulator.add(got, expected, [str(i) for i in range(8)])
    assert accumulator.faults() == ["e.onnx: 100 % of output b is beyond rtol 0 and atol 0.4 (largest error 0.5)"]


def test_the_worst_images_are_named_with_what_was_answered() -> None:
    expected = RNG.normal(size=(40, 5))
    got = expected.copy()
    got[13] *= 2
    got[31, 0] = np.nan
    got[7] += 0.01
    accumulator = Accumulator("e.onnx", Task(labels=("a", "b", "c", "d", "e")))
    for part in (slice(0, 9), slice(9, 40)):
        names = [f"{i}.png" for i in range(40)][part]
        accumulator.add({"y": got[part]}, {"y": expected[part]}, names, np.zeros(len(names), np.int64))
    worst = accumulator.report().worst
    assert [image.name for image in worst[:3]] == ["31.png", "13.png", "7.png"]
    assert worst[0].error is None
    assert worst[1].error == pytest.approx(1.0)
    assert (worst[1].output, worst[1].reference, worst[1].label) == ("y", "abcde"[expected[13].argmax()], "a")
    assert [image.name for image in worst[3:5]] == ["0.png", "1.png"]
    assert len(worst) == 10
