"""Whether two runs of one network gave the same answers, to rounding: as a share of the range of what was wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]

#: ONNX Runtime against PyTorch in FP32, and a fused graph against the plain one, as shares of the output's range.
EXPORTED, FUSED = 1e-4, 1e-5

#: What FP32 alone loses of the largest value: for outputs whose range is far below their values.
ROUNDING = 16 * float(np.finfo(np.float32).eps)

#: What FP32 loses of numbers near 1, which sigmoid and softmax go through on their way to an answer near 0.
NEAR_ONE = 4 * float(np.finfo(np.float32).eps)

#: Answers that span less say little about a network: those of a text detector that sees no text.
FAINT = 1e-3


@dataclass(frozen=True)
class Difference:
    """The output that differs, and by how much of its range (infinite: NaN, another shape, or no such output)."""

    output: str
    share: float

    def __str__(self) -> str:
        return f"{self.output} differs by {self.share:.2g} of its range"


@dataclass(frozen=True)
class Ranges:
    """The range and the largest value of each output over everything that was wanted."""

    spread: Mapping[str, float]
    largest: Mapping[str, float]

    @classmethod
    def of(cls, wanted: Sequence[Tensors]) -> Ranges:
        """Over several batches."""
        names = wanted[0].keys()
        low = {name: min(float(part[name].min()) for part in wanted) for name in names}
        high = {name: max(float(part[name].max()) for part in wanted) for name in names}
        return cls({n: high[n] - low[n] for n in names}, {n: max(abs(low[n]), abs(high[n])) for n in names})

    @property
    def faint(self) -> tuple[str, ...]:
        """Outputs whose answers hardly differ from one another."""
        return tuple(name for name, spread in self.spread.items() if spread < FAINT)

    def difference(self, got: Tensors, wanted: Tensors, tolerance: float) -> Difference | None:
        """The worst output of a batch, where one differs by more than `tolerance` of its range; None where all agree."""
        found = [Difference(name, self._share(name, got.get(name), values)) for name, values in wanted.items()]
        worst = max(found, key=lambda d: d.share)
        return worst if worst.share > tolerance else None

    def _share(self, name: str, got: NDArray[Any] | None, wanted: NDArray[Any]) -> float:
        if got is None or got.shape != wanted.shape:
            return float("inf")
        error = float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0))
        if not np.isfinite(error):
            return float("inf")
        if error <= max(ROUNDING * self.largest[name], NEAR_ONE):
            return 0.0
        return error / self.spread[name] if self.spread[name] else float("inf")
