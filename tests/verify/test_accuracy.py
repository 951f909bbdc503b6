"""The accumulator against plain formulas over everything at once."""

import math

import numpy as np
import pytest

from se_deploy.errors import CheckFailed
from se_deploy.verify.accuracy import Accumulator
from se_deploy.verify.classes import class_scores, margins, ranks
from se_deploy.verify.intervals import share

RNG = np.random.default_rng(0)


def filled(got: dict, expected: dict, labels: np.ndarray | None = None, size: int = 7) -> Accumulator:
    """Fed with `size` rows at a time."""
    accumulator = Accumulator("the engine")
    count = len(next(iter(got.values())))
    for start in range(0, count, size):
        part = slice(start, start + size)
        names = [f"{i}.png" for i in range(count)][part]
        cut = [{name: value[part] for name, value in tensors.items()} for tensors in (got, expected)]
        accumulator.add(*cut, names, None if labels is None else labels[part])
    return accumulator


def logits(count: int = 200, classes: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A reference, an engine that is a little off, and labels that the reference mostly meets."""
    expected = RNG.normal(0, 1.5, (count, classes)).astype(np.float32)
    got = expected + RNG.normal(0, 0.4, expected.shape).astype(np.float32)
    labels = np.where(RNG.random(count) < 0.8, expected.argmax(1), RNG.integers(0, classes, count))
    return got, expected, labels.astype(np.int64)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_every_figure_is_the_plain_formulas(size: int) -> None:
    got, expected, labels = logits()
    report = filled({"logits": got}, {"logits": expected}, labels, size).report()
    exact, wanted = got.astype(float), expected.astype(float)
    agreed = got.argmax(1) == expected.argmax(1)
    chances = np.exp(wanted) / np.exp(wanted).sum(1, keepdims=True)
    two = np.sort(chances, axis=1)[:, -2:]
    undecided = two[:, 1] - two[:, 0] < 0.02
    best5 = np.argsort(-exact, axis=1)[:, :5]
    assert report.images == 200
    assert 0 < agreed.sum() < 200
    assert 0 < undecided.sum() < 200
    assert report.agreement == share(int(agreed.sum()), 200)
    assert report.undecided == undecided.sum()
    assert report.agreement_decided == share(int((agreed & ~undecided).sum()), int((~undecided).sum()))
    assert report.top1 == share(int((got.argmax(1) == labels).sum()), 200)
    assert report.top5 == share(int((best5 == labels[:, None]).any(1).sum()), 200)
    assert report.top1_reference == share(int((expected.argmax(1) == labels).sum()), 200)
    assert report.max_abs_error == pytest.approx(np.abs(exact - wanted).max(), rel=1e-12)
    cosine = (exact * wanted).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(wanted, axis=1)
    assert report.cosine == pytest.approx(cosine.mean(), rel=1e-12)
    assert report.sqnr_db == pytest.approx(10 * math.log10((wanted**2).sum() / ((exact - wanted) ** 2).sum()), rel=1e-12)


def test_equal_outputs_have_no_error_and_no_noise() -> None:
    _, expected, _ = logits()
    expected[3] = 0
    report = filled({"logits": expected}, {"logits": expected}).report()
    assert (report.max_abs_error, report.cosine, report.sqnr_db) == (0.0, pytest.approx(1.0), None)
    assert report.agreement is not None
    assert report.agreement.value == 100.0
    assert (report.top1, report.top5, report.top1_reference) == (None, None, None)


def test_no_top5_of_five_classes() -> None:
    got, expected, labels = logits(classes=5)
    report = filled({"logits": got}, {"logits": expected}, labels).report()
    assert report.top5 is None
    assert report.top1 is not None


@pytest.mark.parametrize("shape", [(20, 1), (20, 4, 6, 6), (20, 3, 1, 2), (20,)])
def test_maps_and_single_values_have_errors_but_no_agreement(shape: tuple[int, ...]) -> None:
    expected = RNG.normal(size=shape)
    report = filled({"map": expected + 0.5}, {"map": expected}).report()
    assert (report.agreement, report.undecided, report.agreement_decided) == (None, None, None)
    assert report.max_abs_error == pytest.approx(0.5)


def test_trailing_ones_are_class_scores() -> None:
    expected = RNG.normal(size=(20, 4, 1, 1))
    report = filled({"logits": expected}, {"logits": expected}).report()
    assert report.agreement == share(20, 20)
    assert class_scores(("batch", 1000))
    assert not class_scores(("batch", 1))


def test_of_several_outputs_the_worst_error_and_the_first_class_scores_count() -> None:
    got, expected, _ = logits()
    features = RNG.normal(size=(200, 4, 3, 3))
    report = filled({"map": features + 9, "logits": got}, {"map": features, "logits": expected}).report()
    alone = filled({"map": features + 9}, {"map": features}).report()
    assert (report.max_abs_error, report.cosine, report.sqnr_db) == (alone.max_abs_error, alone.cosine, alone.sqnr_db)
    assert report.agreement == filled({"logits": got}, {"logits": expected}).report().agreement


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_nan_and_inf_are_named_and_agree_with_nothing(value: float, kind: str) -> None:
    _, expected, labels = logits()
    got = expected.copy()
    rows = np.array([17, 40])
    got[rows, 0] = value
    accumulator = filled({"logits": got}, {"logits": expected}, expected.argmax(1))
    assert accumulator.faults() == [f"the engine: the engine's output logits holds {kind} for 2 of 200 images, first 17.png"]
    report = accumulator.report()
    assert report.agreement == report.top1 == share(198, 200)
    assert report.top1_reference == share(200, 200)
    assert (report.max_abs_error, report.cosine, report.sqnr_db) == (None, None, None)
    reference = filled({"logits": expected}, {"logits": got}, labels)
    assert reference.faults() == [f"the engine: the reference's output logits holds {kind} for 2 of 200 images, first 17.png"]


def test_another_shape_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"the engine: output logits has shape \(7, 11\), the reference's \(7, 12\)"):
        filled({"logits": np.zeros((20, 11))}, {"logits": np.zeros((20, 12))})


def test_margins_take_probabilities_as_they_are() -> None:
    chances = np.array([[0.5, 0.49, 0.01], [0.7, 0.2, 0.1]])
    assert margins(chances) == pytest.approx([0.01, 0.5])
    assert margins(np.log(chances) + 3) == pytest.approx([0.01, 0.5])
    assert margins(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])) == pytest.approx([1.0, 0.0])


def test_ranks_put_ties_in_order_of_the_classes() -> None:
    scores = np.array([[3.0, 3.0, 1.0]] * 3)
    assert ranks(scores, np.array([0, 1, 2])).tolist() == [0, 1, 2]
