"""How much of what flows through a network lies beyond the ranges that a calibration saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.insight.report import TensorCoverage

#: Of a range: what rounding under another batch size or thread count can move a value by.
ROUNDING = 1e-5


@dataclass
class Beyond:
    """Counts of one tensor: values and images outside [min, max], and the extremes seen."""

    min: float
    max: float
    values: int = 0
    outside: int = 0
    images: int = 0
    images_outside: int = 0
    seen_min: float = np.inf
    seen_max: float = -np.inf

    def add(self, batch: NDArray[Any]) -> None:
        """One batch, images on the first axis. NaN and infinities are outside any range."""
        slack = ROUNDING * max(self.max - self.min, abs(self.max), abs(self.min))
        rows = batch.reshape(len(batch), -1)
        out = ~((rows >= self.min - slack) & (rows <= self.max + slack))
        self.values += rows.size
        self.images += len(rows)
        self.outside += int(out.sum())
        self.images_outside += int(out.any(1).sum())
        finite = rows[np.isfinite(rows)] if not np.isfinite(rows).all() else rows
        if finite.size:
            self.seen_min, self.seen_max = min(self.seen_min, float(finite.min())), max(self.seen_max, float(finite.max()))

    def report(self, tensor: str) -> TensorCoverage:
        """In percent."""
        return TensorCoverage(
            tensor=tensor,
            min=self.min,
            max=self.max,
            seen_min=self.seen_min,
            seen_max=self.seen_max,
            values_beyond=100 * self.outside / max(self.values, 1),
            images_beyond=100 * self.images_outside / max(self.images, 1),
        )
