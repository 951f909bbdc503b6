"""One output's errors, batch by batch: maximum, mean, 99th percentile, cosine, tolerance, and NaN and Inf by the image's name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.verify.report import NonFinite, OutputError, ToleranceResult
from se_deploy.verify.tolerance import Tolerance

Rows = NDArray[np.float64]

#: Errors are counted by the upper half of their FP32 bits: 128 bins an octave, so that a percentile is right to 0.8 %.
_BINS = 1 << 15
#: A map's cell is set where its value is larger, for the overlap of maps that hold shares (0-1).
SET = 0.5


@dataclass
class Errors:
    """Running figures of one output; adding batches in another order gives the same but for rounding."""

    name: str
    tolerance: Tolerance | None = None
    shape: tuple[int, ...] = ()
    images: int = 0
    elements: int = 0
    max_abs: float = 0.0
    total: float = 0.0
    cosine: float = 0.0
    least_cosine: float = math.inf
    signal: float = 0.0
    noise: float = 0.0
    beyond: int = 0
    both: int = 0
    either: int = 0
    shares: bool = True
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64), repr=False)
    non_finite: dict[tuple[str, str], NonFinite] = field(default_factory=dict)

    def add(self, got: NDArray[Any], expected: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
        """One batch, (N, ...) each.

        Returns:
            Each image's relative error |got - expected| / |expected| (2-norms); infinite where one of them is not finite.
        """
        self.shape = expected.shape[1:]
        rows, wanted = flat(got), flat(expected)
        fine = self._finite("engine", rows, names) & self._finite("reference", wanted, names)
        self.images += len(rows)
        relative = np.full(len(rows), np.inf)
        relative[fine] = self._finite_rows(rows[fine], wanted[fine])
        return relative

    def _finite_rows(self, got: Rows, expected: Rows) -> Rows:
        errors = np.abs(got - expected)
        self.elements += errors.size
        self.max_abs = max(self.max_abs, float(errors.max(initial=0.0)))
        self.total += float(errors.sum())
        self.counts += np.bincount(errors.astype(np.float32).view(np.uint32).reshape(-1) >> 16, minlength=_BINS)
        self.signal += float(np.square(expected).sum())
        self.noise += float(np.square(errors).sum())
        self._cosines(got, expected)
        self._overlap(got, expected)
        if self.tolerance is not None:
            self.beyond += int(self.tolerance.beyond(errors, expected).sum())
        return relative(np.linalg.norm(errors, axis=1), np.linalg.norm(expected, axis=1))

    def _cosines(self, got: Rows, expected: Rows) -> None:
        lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
        same = (got == expected).all(axis=1)
        cosines = np.where(same, 1.0, (got * expected).sum(axis=1) / np.where(lengths == 0, 1.0, lengths))
        self.cosine += float(cosines.sum())
        self.least_cosine = min(self.least_cosine, float(cosines.min(initial=math.inf)))

    def _overlap(self, got: Rows, expected: Rows) -> None:
        self.shares = self.shares and bool(((expected >= 0) & (expected <= 1)).all())
        if len(self.shape) >= 2 and self.shares:
            self.both += int(((got > SET) & (expected > SET)).sum())
            self.either += int(((got > SET) | (expected > SET)).sum())

    def _finite(self, whose: str, rows: Rows, names: Sequence[str]) -> NDArray[np.bool_]:
        fine = np.asarray(np.isfinite(rows).all(axis=1), np.bool_)
        for row in np.flatnonzero(~fine).tolist():
            kind = "NaN" if np.isnan(rows[row]).any() else "Inf"
            seen = self.non_finite.get((whose, kind)) or NonFinite(whose=whose, kind=kind, images=0, first=names[row])
            self.non_finite[whose, kind] = seen.model_copy(update={"images": seen.images + 1})
        return fine

    def sqnr_db(self) -> float | None:
        """Signal to noise; None without noise, or without signal."""
        return 10 * math.log10(self.signal / self.noise) if self.signal and self.noise else None

    def percentile(self, share: float) -> float:
        """The least error that `share` (0-1) of the elements do not pass, to 0.8 %."""
        place = int(np.searchsorted(np.cumsum(self.counts), math.ceil(share * self.elements)))
        above = np.array([(place << 16) | 0xFFFF], np.uint32).view(np.float32)
        return 0.0 if place == 0 else min(float(above[0]), self.max_abs)

    def report(self) -> OutputError:
        """The figures so far; those of errors are None where NaN or Inf make them meaningless."""
        found = tuple(self.non_finite.values())
        meant = bool(self.elements) and not found
        counted = len(self.shape) >= 2 and self.shares and self.either > 0
        return OutputError(
            name=self.name,
            shape=self.shape,
            max=self.max_abs if meant else None,
            mean=self.total / self.elements if meant else None,
            p99=self.percentile(0.99) if meant else None,
            cosine=self.cosine / self.images if meant else None,
            cosine_min=self.least_cosine if meant else None,
            sqnr_db=self.sqnr_db() if meant else None,
            iou=self.both / self.either if meant and counted else None,
            tolerance=self._tolerance(),
            non_finite=found,
        )

    def _tolerance(self) -> ToleranceResult | None:
        if self.tolerance is None:
            return None
        share = 100 * self.beyond / self.elements if self.elements else 0.0
        passed = not self.beyond and not self.non_finite
        return ToleranceResult(rtol=self.tolerance.rtol, atol=self.tolerance.atol, beyond_percent=share, passed=passed)


def flat(value: NDArray[Any]) -> Rows:
    """A row for each image, in FP64."""
    return value.reshape(len(value), -1).astype(np.float64)


def relative(errors: Rows, sizes: Rows) -> Rows:
    """errors / sizes; an error where the size is 0 counts as 1, and no error as 0."""
    return np.where(sizes > 0, errors / np.where(sizes > 0, sizes, 1.0), np.sign(errors))
