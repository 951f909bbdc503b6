"""Accuracy of an engine against its reference, batch by batch, in memory that does not grow with the number of images."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.errors import CheckFailed
from se_deploy.verify.classes import Classes, class_scores
from se_deploy.verify.outputs import Errors, flat
from se_deploy.verify.report import Accuracy, WorstImage
from se_deploy.verify.tolerance import Tolerance
from se_deploy.verify.verification import Embeddings

Tensors = Mapping[str, NDArray[Any]]

#: How many of the images that are farthest from the reference are named.
WORST = 10
_WHOSE = {"engine": "the engine's", "reference": "the reference's"}


@dataclass(frozen=True)
class Task:
    """What the outputs are for.

    Attributes:
        labels: names of the classes.
        tolerances: by output, where they are to be kept.
        embeddings: outputs of rank 2 are embeddings: there are no classes, so no agreement and no top-1.
    """

    labels: Sequence[str] | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    embeddings: bool = False

    def name(self, index: int) -> str:
        """A class's label, or its index where there are none."""
        return self.labels[index] if self.labels is not None and index < len(self.labels) else str(index)


@dataclass
class Accumulator:
    """Takes batches of an engine's and its reference's outputs; `report()` at any time.

    Agreement and top-k are about the first output that is class scores: rank 2 (trailing dimensions of 1 aside), more than one column.
    """

    #: Whose outputs these are, for messages.
    who: str
    task: Task = field(default_factory=Task)
    pairs: Embeddings | None = None
    images: int = 0
    classes: Classes | None = None
    _errors: dict[str, Errors] = field(default_factory=dict)
    _worst: list[tuple[float, int, WorstImage]] = field(default_factory=list)

    def add(self, got: Tensors, expected: Tensors, names: Sequence[str], labels: NDArray[np.int64] | None = None) -> None:
        """One batch: outputs by name, (N, ...) each; `names` and `labels` (class indices) are the N images'.

        Raises:
            CheckFailed: an output's shape is not the reference's.
        """
        far = np.stack([self._error(output, got[output], reference, names) for output, reference in expected.items()])
        scores = next((name for name, value in expected.items() if class_scores(value.shape)), None)
        answers = None
        if scores is not None and self.task.embeddings:
            if self.pairs is not None:
                self.pairs.add(flat(got[scores]), flat(expected[scores]), names)
        elif scores is not None:
            answers = flat(got[scores]), flat(expected[scores])
            self.classes = self.classes or Classes(answers[0].shape[1])
            self.classes.add(*answers, labels)
        self._remember(far, list(expected), names, answers, labels)
        self.images += len(names)

    def _error(self, output: str, got: NDArray[Any], expected: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
        if got.shape != expected.shape:
            what = f"{self.who}: output {output} has shape {got.shape}, the reference's {expected.shape}"
            raise CheckFailed(what, "build the engine again")
        errors = self._errors.setdefault(output, Errors(output, self.task.tolerances.get(output)))
        return errors.add(got, expected, names)

    def _remember(
        self,
        far: NDArray[np.float64],
        outputs: list[str],
        names: Sequence[str],
        answers: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
        labels: NDArray[np.int64] | None,
    ) -> None:
        """Keeps the images that are farthest from the reference; of equal ones the first."""
        worst, which = far.max(axis=0), far.argmax(axis=0)
        for row in np.argsort(-worst, kind="stable")[:WORST].tolist():
            error = float(worst[row])
            best = [self.task.name(int(scores[row].argmax())) for scores in answers] if answers else [None, None]
            image = WorstImage(
                name=names[row],
                output=outputs[which[row]],
                error=error if np.isfinite(error) else None,
                answer=best[0],
                reference=best[1],
                label=None if labels is None else self.task.name(int(labels[row])),
            )
            self._worst.append((error, -(self.images + row), image))
        self._worst = heapq.nlargest(WORST, self._worst, key=lambda entry: entry[:2])

    def faults(self) -> list[str]:
        """NaN and Inf, and tolerances that are not kept: a sentence for each output."""
        said = []
        for errors in self._errors.values():
            found = errors.report()
            for seen in found.non_finite:
                holds = f"holds {seen.kind} for {seen.images} of {self.images} images, first {seen.first}"
                said.append(f"{self.who}: {_WHOSE[seen.whose]} output {found.name} {holds}")
            kept = found.tolerance
            if kept is not None and kept.beyond_percent:
                limits = f"beyond rtol {kept.rtol:g} and atol {kept.atol:g}"
                said.append(
                    f"{self.who}: {kept.beyond_percent:.3g} % of output {found.name} is {limits} (largest error {_short(found.max)})"
                )
        return said

    def report(self) -> Accuracy:
        """The figures so far."""
        outputs = tuple(errors.report() for errors in self._errors.values())
        errors = [] if any(output.non_finite for output in outputs) else outputs
        shares = self.classes.shares() if self.classes else dict.fromkeys(Classes.FIELDS)
        return Accuracy(
            images=self.images,
            max_abs_error=max((e.max for e in errors if e.max is not None), default=None),
            cosine=min((e.cosine for e in errors if e.cosine is not None), default=None),
            sqnr_db=min((e.sqnr_db for e in errors if e.sqnr_db is not None), default=None),
            undecided=self.classes.undecided if self.classes else None,
            outputs=outputs,
            paired=self.classes.paired() if self.classes else None,
            classes=self.classes.drops(self.task.name) if self.classes else (),
            worst=tuple(image for *_, image in self._worst),
            verification=self.pairs.report() if self.pairs else None,
            **shares,
        )


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
