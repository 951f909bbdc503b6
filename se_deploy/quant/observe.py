"""What is remembered of a tensor while images stream by: never its values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.quant.histogram import Histogram


@dataclass
class Observer:
    """A tensor's finite range, how its finite values are spread, and how many were not finite.

    Merging is associative and commutative to the last bit: shards give what one run gives.
    """

    min: float = math.inf
    max: float = -math.inf
    nonfinite: int = 0
    histogram: Histogram = field(default_factory=Histogram)

    def update(self, values: NDArray[Any], span: tuple[float, float] | None = None) -> None:
        """Takes in one batch of a tensor, of any shape; `span` is its range where that is known to be finite."""
        if not values.size:
            return
        values = np.asarray(values, np.float32)
        low, high = span or (float(values.min()), float(values.max()))
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = values[np.isfinite(values)]
            self.nonfinite += values.size - finite.size
            self.update(finite)
            return
        self.min, self.max = min(self.min, low), max(self.max, high)
        self.histogram.add(values, max(-low, high))

    def merge(self, other: Observer) -> None:
        """Takes in what another observer of the same tensor saw."""
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self.nonfinite += other.nonfinite
        self.histogram.merge(other.histogram)
