"""Exporting until a graph equals PyTorch: dynamo before TorchScript, a dynamic batch before a fixed one, and what was tried is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from onnx import ModelProto
from torch import from_numpy

from se_deploy.errors import BackendError, ExportError, GraphError
from se_deploy.graph import ports
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import write
from se_deploy.networks.exporting import Exporter, to_onnx
from se_deploy.networks.reference import answer
from se_deploy.stages.steps.job import Job
from se_deploy.stages.steps.plain import UNSTABLE, Batch, Questions, Tensors, ask, compare, nudged, shapes
from se_deploy.verify.equal import EXPORTED, Ranges


@dataclass(frozen=True)
class Attempt:
    """One way of exporting: by which exporter, with which batch fixed (None: dynamic)."""

    exporter: Exporter
    batch: int | None


@dataclass(frozen=True)
class Proven:
    """An export that gives the reference's answers; `notes` says why those before it were not taken."""

    model: ModelProto
    attempt: Attempt
    answers: Sequence[Tensors]
    notes: tuple[str, ...]


def proven(job: Job, questions: Questions, file: Path, unknown: Sequence[str]) -> Proven:
    """The first attempt that equals PyTorch; leaves it in `file`.

    Args:
        job: what to export.
        questions: what PyTorch was asked and answered.
        file: where the graph is written.
        unknown: autograd functions that the network calls, for the message.

    Raises:
        ExportError: none does.
    """
    failures: dict[Attempt, str] = {}
    for attempt in _attempts(job):
        try:
            model, answers, remarks = _tried(job, questions, file, attempt)
        except (ExportError, BackendError, GraphError) as error:
            failures[attempt] = error.message
        else:
            return Proven(model, attempt, answers, (*_notes(job, attempt, failures), *remarks))
    raise _refusal(job, questions, failures, unknown)


def _attempts(job: Job) -> list[Attempt]:
    batches = (None, 1) if job.options.batch is None else (job.batch,)
    return [Attempt(exporter, batch) for batch in batches for exporter in job.exporters[0]]


def _tried(job: Job, questions: Questions, file: Path, attempt: Attempt) -> tuple[ModelProto, Sequence[Tensors], tuple[str, ...]]:
    """The graph, what it answers, and remarks."""
    job.progress(f"export with {attempt.exporter}", 0, None)
    batches, wanted = questions.batches(attempt.batch), questions.wanted(attempt.batch)
    dynamic = {0: "batch"} if attempt.batch is None else {}
    if job.odd:
        dynamic |= {2: "height", 3: "width"}  # two names: TensorRT takes dimensions of one name for equal
    name = job.options.name or "input"
    model = to_onnx(
        job.network.module,
        from_numpy(questions.probes[: attempt.batch or 2]),
        attempt.exporter,
        opset=job.opset,
        input_name=name,
        output_names=tuple(questions.rows),
        dynamic=dynamic,
    )
    name_by_module(model)
    shape = tuple(dynamic.get(axis, size) for axis, size in enumerate((attempt.batch or 0, *job.size)))
    ports.settle(model, shape, shapes(wanted))
    write(model, file)
    answers = ask(file, name, batches, "compare with PyTorch", job.progress)
    remarks = compare("ONNX Runtime beside PyTorch", batches, answers, wanted, EXPORTED, partial(answer, job.network.module))
    return model, answers, remarks


def _notes(job: Job, taken: Attempt, failures: dict[Attempt, str]) -> tuple[str, ...]:
    """Says what was not the first choice, and why."""
    why_not = job.exporters[1]
    notes = [f"exported by torchscript: {why_not}"] if why_not and taken.exporter == "torchscript" else []
    alike = {attempt: why for attempt, why in failures.items() if attempt.batch == taken.batch}
    dynamic = {attempt: why for attempt, why in failures.items() if attempt not in alike}
    if alike:
        notes.append(f"exported by {taken.exporter}: {_said(alike)}")
    if dynamic:
        notes.append(f"the batch is fixed at {taken.batch}: with a dynamic one {_said(dynamic)}")
    return tuple(notes)


def _said(failures: dict[Attempt, str]) -> str:
    return "; ".join(f"{attempt.exporter} fails ({why})" for attempt, why in failures.items())


def _refusal(job: Job, questions: Questions, failures: dict[Attempt, str], unknown: Sequence[str]) -> ExportError:
    """The error that says why nothing came of it."""
    batches, wanted = questions.batches(job.batch), questions.wanted(job.batch)
    again, moved = (_farthest(job, map(change, batches), wanted) for change in (np.array, nudged))
    if again > EXPORTED:
        return ExportError("the network answers the same image differently each time", "take the randomness out of its forward()")
    if moved > UNSTABLE:
        return ExportError(
            f"the network is unstable: rounding its input moves its answers by {moved:.2g} of their range: no graph can be compared",
            "check how images are prepared (--preprocess, --mean, --std, --scale), and its weights",
        )
    first = {attempt: why for attempt, why in failures.items() if attempt.batch == _attempts(job)[0].batch}
    calls = f" (it calls autograd functions: {', '.join(unknown)})" if unknown else ""
    hint = "rewrite that part of the network" + (", or fix the batch with --batch N" if job.options.batch == "dynamic" else "")
    return ExportError(f"the network cannot be exported{calls}: {_said(first)}", hint)


def _farthest(job: Job, batches: Iterable[Batch], wanted: Sequence[Tensors]) -> float:
    """How far PyTorch's answers are from the recorded ones, as a share of the range."""
    ranges = Ranges.of(wanted)
    found = (ranges.difference(answer(job.network.module, images), expected, 0.0) for images, expected in zip(batches, wanted, strict=True))
    return max(difference.share if difference else 0.0 for difference in found)
