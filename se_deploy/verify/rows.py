"""Whether an engine keeps the rows of a batch apart: a batch of differing rows must give what each row gives alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import Precision
from se_deploy.errors import CheckFailed

Tensors = dict[str, NDArray[Any]]
RunBatch = Callable[[Mapping[str, NDArray[Any]]], Tensors]

#: How far a row may be from itself alone, as a share of how far rows are from their mean. Other kernels at other batch sizes round
#: differently, and a value that rounds to the other side moves an INT8 output by steps. A row that is another's is off by 0.5 or more.
TOLERANCE: dict[Precision, float] = {"fp32": 0.01, "fp16": 0.1, "int8": 0.25}
#: Or as a share of the largest value, for outputs that hardly depend on the input.
FLOOR: dict[Precision, float] = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-2}


@dataclass(frozen=True)
class WrongRow:
    """The row that is farthest from what it gives alone."""

    output: str
    row: int
    error: float
    allowed: float


def distinct(feeds: Mapping[str, NDArray[Any]], count: int) -> Tensors:
    """`count` rows that all differ, made of the rows there are; shifted along the last axis where there are too few."""

    def row(values: NDArray[Any], number: int) -> NDArray[Any]:
        return np.roll(values[number % len(values)], number // len(values), axis=-1)

    return {name: np.stack([row(values, number) for number in range(count)]) for name, values in feeds.items()}


def in_batches(run: RunBatch, feeds: Mapping[str, NDArray[Any]], batch: int, who: str) -> Tensors:
    """Runs any number of rows, exactly `batch` at a time: the last row fills up the last batch, and its answers are dropped.

    Raises:
        CheckFailed: an output has not one row for each of the inputs'; it says that it is `who`'s.
    """
    count = len(next(iter(feeds.values())))
    answers = []
    for start in range(0, count, batch):
        places = np.minimum(np.arange(start, start + batch), count - 1)
        answer = run({name: values[places] for name, values in feeds.items()})
        for name, value in answer.items():
            if value.shape[:1] != (batch,):
                raise CheckFailed(f"{who}: output {name} has shape {value.shape} for a batch of {batch}", "build the engine again")
        answers.append(answer)
    return {name: np.concatenate([answer[name] for answer in answers])[:count] for name in answers[0]}


def elsewhere(run: RunBatch, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
    """The outputs of each row at another place of the batch: for an engine whose batch is fixed."""
    answers = run({name: np.roll(values, 1, axis=0) for name, values in feeds.items()})
    return {name: np.roll(values, -1, axis=0) for name, values in answers.items()}


def wrong_row(together: Mapping[str, NDArray[Any]], alone: Mapping[str, NDArray[Any]], precision: Precision) -> WrongRow | None:
    """The worst row, where one differs by more than rounding; None where all are themselves. NaN equals NaN here."""
    for output, expected in alone.items():
        rows, wanted = (value.reshape(len(value), -1).astype(np.float64) for value in (together[output], expected))
        allowed = _allowed(wanted[np.isfinite(wanted).all(axis=1)], precision)
        same = (rows == wanted) | (np.isnan(rows) & np.isnan(wanted))
        both = np.isfinite(rows) & np.isfinite(wanted)
        distance = np.abs(np.subtract(rows, wanted, where=both, out=np.full(rows.shape, np.inf)))
        errors = np.where(same, 0.0, distance).max(axis=1, initial=0.0)
        worst = int(errors.argmax())
        if errors[worst] > allowed:
            return WrongRow(output, worst, float(errors[worst]), allowed)
    return None


def _allowed(finite: NDArray[np.float64], precision: Precision) -> float:
    if not len(finite):
        return 0.0
    spread = float(np.abs(finite - finite.mean(axis=0)).max(initial=0.0))
    return max(TOLERANCE[precision] * spread, FLOOR[precision] * float(np.abs(finite).max(initial=0.0)))
