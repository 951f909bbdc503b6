"""`bench`: engines against the PyTorch reference, what they answer and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import ArtifactError
from se_deploy.stages.steps import engines as built
from se_deploy.stages.steps import runnable, trials
from se_deploy.stages.steps import samples as tried
from se_deploy.verify import latency
from se_deploy.verify.intervals import Interval
from se_deploy.verify.report import BenchReport, Latency, Run
from se_deploy.verify.report import Reference as Measured

if TYPE_CHECKING:
    from se_deploy.stages.steps.reference import Reference

__all__ = ["BenchReport", "Interval", "Run", "bench"]


def bench(
    engines: str | Path | Sequence[str | Path] | None = None,
    *,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    batch: Sequence[int] | None = None,
    warmup: float = 1.0,
    duration: float = 3.0,
    threads: int | None = None,
    runtime: Literal["python", "cpp"] = "python",
    min_agreement: float | None = None,
    max_p99: float | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Compares engines with what PyTorch answered, and measures their latency in turns with PyTorch's own.

    Without `data` the answers are those that the export recorded for its probe inputs; with it PyTorch answers here and now on the same
    prepared images, made again from weights.safetensors, without the checkpoint. Latency is per batch, from host memory to host memory.
    A batch of differing rows must also give what its rows give one by one.

    Args:
        engines: files, or names to look for under engines/; None takes the newest engine there.
        data: a folder of images; where they lie in class folders, top-1 and top-5 are measured.
        labels: a CSV of `file,class` lines, files relative to `data` (or, without it, to the CSV); only these images are used.
        batch: batch sizes; None takes 1, or the size that the engine was built for.
        warmup: seconds of calls before measuring, at least three calls.
        duration: seconds of measuring for each engine and batch, and as many for the reference.
        threads: for engine and PyTorch alike; None takes PyTorch's own default.
        runtime: "cpp" runs the engines in the C++ loader that `package --cpp` deploys, compiled here the first time.
        min_agreement: the report passes only where each engine agrees with the reference on so many percent of images.
        max_p99: the report passes only where each run's p99 is no more milliseconds.
        progress: called after each chunk of images, and at each round of measuring.

    Returns:
        The report; `passed` is False where a limit or the check of rows did not hold (`report.check()` raises then).

    Raises:
        ArtifactError: an engine, its manifest or its export is missing, or they do not belong together.
        BackendError: an engine's backend is missing, or its batch is fixed at another size.
        ImageError: no usable image, or images or labels that contradict the network.
        CheckFailed: an engine's outputs have other shapes than the reference's.
    """
    names = [engines] if engines is None or isinstance(engines, str | Path) else engines
    found = [built.find(name) for name in names]
    for engine in found if runtime == "python" else ():
        runnable.check(engine)
    outcome = _Outcome(notes=[*(note for engine in found for note in engine.notes), *filter(None, [latency.busy()])])
    if runtime == "cpp":
        outcome.notes.append("engines run in the C++ loader (plugins/runtime)")
    # Behind the search, so that a wrong name is told before PyTorch's libraries are read.
    from se_deploy.stages.steps import reference as live

    threads = threads or live.default_threads()
    library = _loader(progress) if runtime == "cpp" else None
    for folder in dict.fromkeys(engine.folder for engine in found):
        group = [engine for engine in found if engine.folder == folder]
        with ExitStack() as stack:
            reference = stack.enter_context(live.opened(folder, group[0].model, threads))
            subjects = [subject for engine in group for subject in trials.opened(engine, batch, threads, stack, library)]
            samples, remarks = tried.choose(group[0], reference, data, labels)
            trials.compare(subjects, reference, samples, progress)
            outcome.notes += [*reference.notes, *remarks, *tried.skipped(samples)]
            outcome.failures += trials.faults(subjects, reference)
            outcome.add(reference, trials.measured(subjects, reference, warmup=warmup, duration=duration, progress=progress))
    outcome.failures += _limits(outcome.runs, min_agreement, max_p99)
    return outcome.report(threads)


@dataclass
class _Outcome:
    """What the groups of engines, one for each export, add up to."""

    notes: list[str]
    failures: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reference: Measured | None = None
    groups: int = 0

    def add(self, reference: Reference, measured: list[tuple[Run, Latency]]) -> None:
        """A group's runs, each with the reference's latency beside it."""
        self.groups += 1
        self.runs += [run for run, _ in measured]
        self.reference = self.reference or Measured(kind=reference.kind, latency_ms=measured[0][1])

    def report(self, threads: int) -> BenchReport:
        """The report."""
        if self.reference is None:
            raise ArtifactError("no engine is named", "name one, or leave the list out for the newest")
        if self.groups > 1:
            self.notes.append("the engines are of several exports, each against its own reference; `reference` has the first one's latency")
        return BenchReport(
            runs=tuple(self.runs),
            reference=self.reference,
            passed=not self.failures,
            threads=threads,
            failures=tuple(self.failures),
            notes=tuple(self.notes),
        )


def _loader(progress: Progress) -> Path:
    from se_deploy.backends import cpp

    return cpp.library(progress)


def _limits(runs: Sequence[Run], min_agreement: float | None, max_p99: float | None) -> list[str]:
    """A sentence for each limit that a run does not keep."""
    said = []
    for run in runs:
        who, agreement = f"{run.engine} at batch {run.batch}", run.accuracy.agreement
        if min_agreement is not None and agreement is None:
            said.append(f"{who}: no output is class scores, so there is no agreement to hold against {min_agreement:g} %")
        elif min_agreement is not None and agreement is not None and agreement.value < min_agreement:
            said.append(f"{who}: agreement {agreement.value:.2f} % is below {min_agreement:g} %")
        if max_p99 is not None and run.latency_ms.p99 > max_p99:
            said.append(f"{who}: p99 {run.latency_ms.p99:.3g} ms is above {max_p99:g} ms")
    return said
