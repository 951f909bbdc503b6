"""What is remembered of a tensor while images stream by: never its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Observer:
    """The finite range of a tensor, and how many values were not finite. Merging is associative: shards give what one run gives."""

    min: float = math.inf
    max: float = -math.inf
    nonfinite: int = 0

    def update(self, values: NDArray[Any]) -> None:
        """Takes in one batch of a tensor, of any shape."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = values[np.isfinite(values)]
            self.nonfinite += values.size - finite.size
            self.update(finite)
            return
        self.min, self.max = min(self.min, low), max(self.max, high)

    def merge(self, other: Observer) -> None:
        """Takes in what another observer of the same tensor saw."""
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self.nonfinite += other.nonfinite
