"""Accuracy of an engine against its reference, batch by batch, in memory that does not grow with the number of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.errors import CheckFailed
from se_deploy.verify.classes import Classes, class_scores, finite_rows
from se_deploy.verify.report import Accuracy

Tensors = Mapping[str, NDArray[Any]]


@dataclass
class _Errors:
    """Running sums of one output's errors."""

    max_abs: float = 0.0
    cosine: float = 0.0
    signal: float = 0.0
    noise: float = 0.0

    def add(self, got: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
        """Rows of one batch, (N, elements), all finite."""
        error = got - expected
        self.max_abs = max(self.max_abs, float(np.abs(error).max(initial=0.0)))
        self.signal += float(np.square(expected).sum())
        self.noise += float(np.square(error).sum())
        lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
        same = (got == expected).all(axis=1)
        cosines = (got * expected).sum(axis=1) / np.where(lengths == 0, 1.0, lengths)
        self.cosine += float(np.where(same, 1.0, cosines).sum())

    def sqnr_db(self) -> float | None:
        """Signal to noise; None without noise, or without signal."""
        return 10 * math.log10(self.signal / self.noise) if self.signal and self.noise else None


@dataclass
class _NonFinite:
    """How many images' values held NaN or Inf, and the first of them."""

    images: int
    first: str
    kind: str


@dataclass
class Accumulator:
    """Takes batches of an engine's and its reference's outputs; `report()` at any time.

    Agreement and top-k are about the first output that is class scores: rank 2 (trailing dimensions of 1 aside), more than one column.
    """

    #: Whose outputs these are, for messages.
    who: str
    images: int = 0
    classes: Classes | None = None
    _errors: dict[str, _Errors] = field(default_factory=dict)
    _non_finite: dict[tuple[str, str], _NonFinite] = field(default_factory=dict)

    def add(self, got: Tensors, expected: Tensors, names: Sequence[str], labels: NDArray[np.int64] | None = None) -> None:
        """One batch: outputs by name, (N, ...) each; `names` and `labels` (class indices) are the N images'.

        Raises:
            CheckFailed: an output's shape is not the reference's.
        """
        self.images += len(names)
        for output, reference in expected.items():
            if got[output].shape != reference.shape:
                what = f"{self.who}: output {output} has shape {got[output].shape}, the reference's {reference.shape}"
                raise CheckFailed(what, "build the engine again")
            rows, wanted = _rows(got[output]), _rows(reference)
            fine = self._finite("the engine's", output, rows, names) & self._finite("the reference's", output, wanted, names)
            self._errors.setdefault(output, _Errors()).add(rows[fine], wanted[fine])
        scores = next((name for name, value in expected.items() if class_scores(value.shape)), None)
        if scores is not None:
            self.classes = self.classes or Classes(_rows(expected[scores]).shape[1])
            self.classes.add(_rows(got[scores]), _rows(expected[scores]), labels)

    def _finite(self, whose: str, output: str, rows: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.bool_]:
        fine = finite_rows(rows)
        for row in np.flatnonzero(~fine).tolist():
            kind = "NaN" if np.isnan(rows[row]).any() else "Inf"
            self._non_finite.setdefault((whose, output), _NonFinite(0, names[row], kind)).images += 1
        return fine

    def faults(self) -> list[str]:
        """NaN and Inf, a sentence for each output that held any."""
        return [
            f"{self.who}: {whose} output {output} holds {found.kind} for {found.images} of {self.images} images, first {found.first}"
            for (whose, output), found in self._non_finite.items()
        ]

    def report(self) -> Accuracy:
        """The figures so far."""
        errors = [] if self._non_finite else list(self._errors.values())
        noisy = [value for value in (e.sqnr_db() for e in errors) if value is not None]
        shares = self.classes.shares() if self.classes else dict.fromkeys(Classes.FIELDS)
        return Accuracy(
            images=self.images,
            max_abs_error=max((e.max_abs for e in errors), default=None),
            cosine=min((e.cosine / self.images for e in errors), default=None),
            sqnr_db=min(noisy, default=None),
            undecided=self.classes.undecided if self.classes else None,
            **shares,
        )


def _rows(value: NDArray[Any]) -> NDArray[np.float64]:
    return value.reshape(len(value), -1).astype(np.float64)
