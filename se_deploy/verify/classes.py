"""Class scores: agreement between engine and reference, top-1 and top-5, and images on which the reference itself is undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from se_deploy.verify.intervals import Interval, share
from se_deploy.verify.paired import paired
from se_deploy.verify.report import ClassDrop, Paired

#: The reference is undecided where its two best probabilities are closer than this.
UNDECIDED = 0.02


def class_scores(shape: Sequence[Any]) -> bool:
    """Whether an output of that shape is (N, classes), trailing dimensions of 1 aside, with more than one class."""
    return len(shape) >= 2 and shape[1] != 1 and all(size == 1 for size in shape[2:])


@dataclass
class Classes:
    """Running counts. A tie goes to the lower class index; a row with NaN or Inf agrees with nothing."""

    FIELDS: ClassVar[tuple[str, ...]] = ("agreement", "agreement_decided", "top1", "top5", "top1_reference")

    count: int
    images: int = 0
    agreed: int = 0
    agreed_decided: int = 0
    undecided: int = 0
    labelled: int = 0
    top1: int = 0
    top5: int = 0
    top1_reference: int = 0
    #: Images of each class, and those that engine, reference and both of them got right: (4, classes).
    by_class: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.by_class = np.zeros((4, self.count), np.int64)

    def add(self, got: NDArray[np.float64], expected: NDArray[np.float64], labels: NDArray[np.int64] | None) -> None:
        """One batch of scores, (N, classes) each, and the images' classes where they are known."""
        fine, fine_reference = finite_rows(got), finite_rows(expected)
        agreed = fine & fine_reference & (_best(got) == _best(expected))
        decided = fine_reference & (margins(np.where(fine_reference[:, None], expected, 0)) >= UNDECIDED)
        self.images += len(got)
        self.agreed += int(agreed.sum())
        self.agreed_decided += int((agreed & decided).sum())
        self.undecided += int((~decided).sum())
        if labels is not None:
            rank = ranks(got, labels)
            right, right_reference = fine & (rank == 0), fine_reference & (ranks(expected, labels) == 0)
            self.labelled += len(labels)
            self.top1 += int(right.sum())
            self.top5 += int((fine & (rank < 5)).sum())
            self.top1_reference += int(right_reference.sum())
            for row, hits in enumerate((np.ones_like(right), right, right_reference, right & right_reference)):
                self.by_class[row] += np.bincount(labels[hits], minlength=self.count)

    def shares(self) -> dict[str, Interval | None]:
        """Each of FIELDS in percent, with its interval; None where nothing was counted."""
        return {
            "agreement": share(self.agreed, self.images),
            "agreement_decided": share(self.agreed_decided, self.images - self.undecided),
            "top1": share(self.top1, self.labelled),
            "top5": share(self.top5, self.labelled) if self.count > 5 else None,
            "top1_reference": share(self.top1_reference, self.labelled),
        }

    def paired(self) -> Paired | None:
        """The engine's top-1 against the reference's on the same images; None without labels."""
        count, right, right_reference, both = (int(value) for value in self.by_class.sum(axis=1))
        return paired(both, right - both, right_reference - both, count - right - right_reference + both)

    def drops(self, name: Callable[[int], str]) -> tuple[ClassDrop, ...]:
        """Every class that has images, those that lost most first; `name` gives a class's."""
        found = []
        for index, (images, right, reference, _) in enumerate(self.by_class.T.tolist()):
            if images:
                top1, wanted = 100 * right / images, 100 * reference / images
                found.append(ClassDrop(name=name(index), images=images, top1=top1, top1_reference=wanted, drop=wanted - top1))
        return tuple(sorted(found, key=lambda c: -c.drop))


def finite_rows(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of (N, elements) hold neither NaN nor Inf."""
    return np.asarray(np.isfinite(values).all(axis=1), np.bool_)


def _best(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(scores.argmax(axis=1), np.int64)


def ranks(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes stand before the labelled one, for each row of scores: 0 is the best."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    lower = np.arange(scores.shape[1])[None, :] < labels[:, None]
    before: NDArray[np.int64] = ((scores > own) | ((scores == own) & lower)).sum(axis=1)
    return before


def margins(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two best probabilities' difference, for each row; scores that are no probabilities yet go through a softmax."""
    already = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) < 1e-3)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances = np.where(already[:, None], scores, powers / powers.sum(axis=1, keepdims=True))
    two = np.partition(chances, -2, axis=1)[:, -2:]
    gap: NDArray[np.float64] = two[:, 1] - two[:, 0]
    return gap
