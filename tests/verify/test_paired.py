import math

import numpy as np
import pytest
from scipy.stats import binomtest

from se_deploy.verify.accuracy import Accumulator, Task
from se_deploy.verify.paired import mcnemar, paired

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 3), (2, 9), (40, 12), (0, 60), (900, 1000)])
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    exact = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(exact, rel=1e-9)


def test_the_drop_has_agresti_and_mins_interval() -> None:
    """Wald's on counts of which each is half an image larger."""
    found = paired(both=30, only_engine=2, only_reference=9, neither=13)
    assert found is not None
    cells = [30.5, 2.5, 9.5, 13.5]
    total = sum(cells)
    p10, p01 = cells[2] / total, cells[1] / total
    middle, half = p10 - p01, 1.959963984540054 * math.sqrt((p10 + p01 - (p10 - p01) ** 2) / total)
    assert (found.drop.low, found.drop.high) == (pytest.approx(100 * (middle - half)), pytest.approx(100 * (middle + half)))
    assert found.drop.value == pytest.approx(100 * 7 / 54)
    assert paired(0, 0, 0, 0) is None


def test_the_drops_interval_covers_the_truth() -> None:
    truth, covered = 5.0, 0
    for _ in range(400):
        both, only_engine, only_reference, neither = RNG.multinomial(200, [0.7, 0.05, 0.10, 0.15])
        found = paired(int(both), int(only_engine), int(only_reference), int(neither))
        assert found is not None
        covered += found.drop.low <= truth <= found.drop.high
    assert 370 <= covered <= 395  # 95 % of 400 is 380


def test_counts_and_drops_of_classes_are_the_plain_ones() -> None:
    count, classes = 300, 6
    expected = RNG.normal(size=(count, classes))
    got = expected + RNG.normal(0, 0.8, expected.shape)
    labels = np.where(RNG.random(count) < 0.7, expected.argmax(1), RNG.integers(0, classes - 1, count)).astype(np.int64)
    got[labels == 2, 2] -= 3  # class 2 is lost
    names = tuple("abcdef")
    accumulator = Accumulator("e", Task(labels=names))
    for part in (slice(0, 100), slice(100, 300)):
        accumulator.add({"y": got[part]}, {"y": expected[part]}, [str(i) for i in range(count)][part], labels[part])
    report = accumulator.report()
    right, reference = got.argmax(1) == labels, expected.argmax(1) == labels
    assert report.paired is not None
    assert (report.paired.only_engine, report.paired.only_reference) == ((right & ~reference).sum(), (reference & ~right).sum())
    assert report.paired.p < 0.01
    assert report.classes[0].name == "c"
    assert [c.drop for c in report.classes] == sorted((c.drop for c in report.classes), reverse=True)
    for found in report.classes:
        of = labels == names.index(found.name)
        assert found.images == of.sum() > 0
        assert (found.top1, found.top1_reference) == (pytest.approx(100 * right[of].mean()), pytest.approx(100 * reference[of].mean()))


def test_without_labels_there_is_nothing_to_pair() -> None:
    accumulator = Accumulator("e")
    accumulator.add({"y": np.eye(4)}, {"y": np.eye(4)}, list("abcd"))
    assert accumulator.report().paired is None
    assert accumulator.report().classes == ()
