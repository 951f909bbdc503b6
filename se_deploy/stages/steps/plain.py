"""The plain graph that `export` fuses, whatever it came from, and how graphs are asked and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import Preprocess, Progress, SourceRef
from se_deploy.errors import ExportError
from se_deploy.networks.exporting import reason
from se_deploy.verify.equal import ROUNDING, Ranges

#: A graph rounds at every layer, and not its input alone: this many times as far may its answers be. (SENet-154 with random weights:
#: 5e-5 of the range for a rounding of the input, 7e-5 between PyTorch and ONNX Runtime, each 4e-5 from FP64.)
_ROUNDINGS = 3

#: A network whose answers a rounding of its input moves by more of their range cannot be told from another.
UNSTABLE = 1e-3

Batch = NDArray[Any]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Step:
    """A small move of the input, the largest share of the outputs' range that it may move them by, and what a remark calls it."""

    nudge: Callable[[Batch], Batch]
    most: float
    words: str


@dataclass(frozen=True)
class Questions:
    """What graphs are asked, and the answers they must give.

    Attributes:
        probes: (count, C, H, W), and `rows`: the reference's answers to them, by output.
        odd: batches of other heights and widths, where those are dynamic, and `odd_answers`.
    """

    probes: Batch
    rows: Tensors
    odd: Sequence[Batch] = ()
    odd_answers: Sequence[Tensors] = ()

    def batches(self, size: int | None) -> list[Batch]:
        """All inputs, the probes in batches of `size` (None: of several sizes)."""
        return [*cut(self.probes, parts(len(self.probes), size)), *self.odd]

    def wanted(self, size: int | None) -> list[Tensors]:
        """The answers, cut as `batches` are."""
        pieces = {name: cut(rows, parts(len(rows), size)) for name, rows in self.rows.items()}
        count = len(next(iter(pieces.values())))
        return [*({name: piece[i] for name, piece in pieces.items()} for i in range(count)), *self.odd_answers]


@dataclass(frozen=True)
class Plain:
    """A plain graph that gives the reference's answers.

    Attributes:
        model: named by module, its input and outputs declared as they were seen.
        exporter: what wrote it.
        batch: the batch it is fixed at, None where it is dynamic.
        questions: what it was asked, and `answers`: what ONNX Runtime gave, in batches of `batch`.
        sides: least, usual and greatest (H, W) that it was run at.
        preprocess, labels: for the manifest.
        source: where it came from; `weights`: whether weights.safetensors was written.
        notes: for the user.
    """

    model: ModelProto
    exporter: Literal["dynamo", "torchscript", "onnx"]
    batch: int | None
    questions: Questions
    answers: Sequence[Tensors]
    sides: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    source: SourceRef
    weights: bool
    notes: tuple[str, ...]

    def some(self) -> tuple[list[Batch], list[Tensors]]:
        """Two batches (of 1 and 2 where that varies) and those of other sizes, with the answers: what fusing breaks, it breaks in any."""
        asked = list(zip(self.questions.batches(self.batch), self.answers, strict=True))
        usual = len(asked) - len(self.questions.odd)
        chosen = asked[: min(2, usual)] + asked[usual:]
        return [batch for batch, _ in chosen], [answer for _, answer in chosen]


def ask(file: Path, name: str, batches: Sequence[Batch], what: str, progress: Progress) -> list[Tensors]:
    """What ONNX Runtime, its optimiser off, answers to each batch.

    Raises:
        ExportError: it does not take the file, or fails on a batch.
    """
    answers: list[Tensors] = []
    with backends.get("onnxruntime").open(file, optimised=False) as runner:
        for images in batches:
            progress(what, len(answers), len(batches))
            try:
                answers.append(runner.run({name: images}))
            except Exception as error:  # a runtime fails as it likes on a graph that is wrong
                raise ExportError(f"ONNX Runtime fails on an input of {_sizes(images)}: {reason(error)}", "") from error
    progress(what, len(batches), len(batches))
    return answers


def compare(
    who: str,
    batches: Sequence[Batch],
    got: Sequence[Tensors],
    wanted: Sequence[Tensors],
    tolerance: float,
    again: Callable[[Batch], Tensors],
    step: Step | None = None,
) -> tuple[str, ...]:
    """Refuses answers that differ by more than `tolerance` of the output's range, unless rounding alone explains it.

    Args:
        who: whose answers, beside whose, for the remark.
        batches: the inputs.
        got: answers to them.
        wanted: what they must be.
        tolerance: as a share of the output's range.
        again: asks once more what gave `wanted`; only where the tolerance is passed.
        step: what may explain a larger difference; left out, FP32's rounding.

    Returns:
        A remark where rounding had to explain a difference.

    Raises:
        ExportError: names the output, the difference and the batch.
    """
    ranges = Ranges.of(wanted)
    step = step or Step(nudged, UNSTABLE, "rounding its input moves it")
    excused = []
    for images, given, expected in zip(batches, got, wanted, strict=True):
        difference = ranges.difference(given, expected, tolerance)
        if difference is None:
            continue
        if difference.share > _ROUNDINGS * _unrest(images, expected, ranges, again, step):
            raise ExportError(f"{difference} on an input of {_sizes(images)}", "")
        excused.append(difference)
    worst = max(excused, key=lambda difference: difference.share, default=None)
    return () if worst is None else (f"{who}: {worst}, about as far as {step.words}",)


def _unrest(images: Batch, expected: Tensors, ranges: Ranges, again: Callable[[Batch], Tensors], step: Step) -> float:
    """How far the answers move when the input moves by one step; 0 for what is random or moves so far that it proves nothing."""
    if ranges.difference(again(images), expected, ROUNDING) is not None:
        return 0.0
    moved = ranges.difference(again(step.nudge(images)), expected, 0.0)
    return moved.share if moved is not None and moved.share <= step.most else 0.0


def nudged(images: Batch) -> Batch:
    """Every value one rounding step larger."""
    moved: Batch = np.nextafter(images, images.dtype.type(np.inf))
    return moved


def nudged_by_int8(images: Batch) -> Batch:
    """Every value larger by one of the 255 steps that cover the images."""
    moved: Batch = images + np.asarray((images.max() - images.min()) / 255, images.dtype)
    return moved


def shapes(answers: Sequence[Tensors]) -> dict[str, list[tuple[int, ...]]]:
    """The shapes that each output had."""
    return {name: [answer[name].shape for answer in answers] for name in answers[0]}


def parts(count: int, batch: int | None) -> tuple[int, ...]:
    """How `count` probes are cut into batches: 1, 2, 3 and the rest where the batch is dynamic (None), else of that size."""
    return (1, 2, 3, count - 6) if batch is None else (batch,) * (count // batch)


def cut(values: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    """Slices of those sizes."""
    return np.split(values, np.cumsum(sizes)[:-1])


def joined(answers: Sequence[Tensors]) -> Tensors:
    """Batches' answers as rows."""
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def odd_sides(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """A smaller and a larger size, both odd and neither square: whatever was computed from the example's size shows there."""
    return (height * 3 // 4 | 1, width * 5 // 8 | 1), (height * 5 // 4 | 1, width * 11 // 8 | 1)


def _sizes(images: Batch) -> str:
    return "x".join(map(str, images.shape))
