"""`bench`: engines against the PyTorch reference, what they answer and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import ArtifactError
from se_deploy.files import replacing
from se_deploy.stages.steps import engines as built
from se_deploy.stages.steps import runnable, trials
from se_deploy.stages.steps import samples as tried
from se_deploy.stages.steps.baselines import opened
from se_deploy.stages.steps.engines import Built
from se_deploy.verify import latency
from se_deploy.verify.accuracy import Accumulator
from se_deploy.verify.intervals import Interval
from se_deploy.verify.report import Accuracy, BenchReport, Included, ReferenceRun, Run
from se_deploy.verify.report import Reference as Measured

if TYPE_CHECKING:
    from se_deploy.stages.steps.reference import Reference

__all__ = ["Accuracy", "BenchReport", "Interval", "ReferenceRun", "Run", "bench"]


def bench(
    engines: str | Path | Sequence[str | Path] | None = None,
    *,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    batch: Sequence[int] | None = None,
    warmup: float = 1.0,
    duration: float = 3.0,
    threads: int | Sequence[int] | None = None,
    baseline: Sequence[str | Path] = (),
    pairs: str | Path | None = None,
    embeddings: bool = False,
    rtol: Sequence[str] = (),
    atol: Sequence[str] = (),
    html: str | Path | None = None,
    runtime: Literal["python", "cpp"] = "python",
    device_only: bool = False,
    streams: Sequence[int] = (1, 2),
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
        warmup: seconds of calls before measuring, at least three calls; up to three times that where a callable is not steady by then.
        duration: seconds of measuring for each engine and batch, and as many for the reference.
        threads: for engine and PyTorch alike; several are measured one after the other; None takes PyTorch's own default.
        baseline: other engines, or any .onnx files, timed in the same rounds; each run has its speed-up over each of them.
        pairs: a CSV of `file,file,same` lines (files relative to `data`, without it to the CSV): verification by embeddings.
        embeddings: outputs of rank 2 are embeddings, so there are no classes; `pairs` says so too.
        rtol: relative tolerances, "V" or "OUT:V", that every element must keep unless it keeps the absolute one.
        atol: absolute tolerances, as in `rtol`; where only one of the two is given the other is 1e-5, as in Polygraphy.
        html: where to write the report as one HTML file.
        runtime: "cpp" runs the engines in the C++ loader that `package --cpp` deploys, compiled here the first time.
        device_only: latency is the GPU's own time, copies left out.
        streams: numbers of contexts that a GPU runs at once, each on a stream of its own, for their images per second.
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
    with ExitStack() as outer:
        # Made first, so that a place that cannot be written is said before the work.
        page = None if html is None else outer.enter_context(replacing(_page(html)))
        names = [engines] if engines is None or isinstance(engines, str | Path) else engines
        found = [built.find(name) for name in names]
        for engine in found if runtime == "python" else ():
            runnable.check(engine)
        outcome = _Outcome(notes=[*(note for engine in found for note in engine.notes), *filter(None, [latency.busy()])])
        if runtime == "cpp":
            outcome.notes.append("engines run in the C++ loader (plugins/runtime)")
        # Behind the search, so that a wrong name is told before PyTorch's libraries are read.
        from se_deploy.stages.steps import reference as live

        counts = (threads,) if isinstance(threads, int) else tuple(threads or (live.default_threads(),))
        wanted = tried.Wanted(data, labels, pairs, embeddings or pairs is not None, rtol, atol)
        library = _loader(progress) if runtime == "cpp" else None
        trial = _Trial(wanted, batch, baseline, warmup, duration, library, device_only, streams)
        for folder in dict.fromkeys(engine.folder for engine in found):
            outcome.groups += 1
            group = [engine for engine in found if engine.folder == folder]
            compared: dict[str, Accumulator] = {}
            for count in counts:
                with live.opened(folder, group[0].model, count) as reference:
                    trial.run(group, reference, count, compared, outcome, progress)
        outcome.failures += _limits(outcome.runs, min_agreement, max_p99)
        report = outcome.report(counts, Included(copies=not device_only))
        if page is not None:
            from se_deploy.verify.html import page as drawn

            page.write_text(drawn(report), encoding="utf-8")
    return report


def _page(html: str | Path) -> Path:
    if Path(html).is_dir():
        raise ArtifactError(f"{html} is a folder", "name a file with --html")
    return Path(html)


@dataclass(frozen=True)
class _Trial:
    """What every group of engines goes through."""

    wanted: tried.Wanted
    batch: Sequence[int] | None
    baseline: Sequence[str | Path]
    warmup: float
    duration: float
    #: The C++ loader's, where engines run in that.
    library: Path | None
    device_only: bool
    streams: Sequence[int]

    def run(
        self,
        group: Sequence[Built],
        reference: Reference,
        threads: int,
        compared: dict[str, Accumulator],
        outcome: _Outcome,
        progress: Progress,
    ) -> None:
        """Compares the answers of engines of one export, unless `compared` has them already, and measures their latency."""
        with ExitStack() as stack:
            subjects = [subject for engine in group for subject in trials.opened(engine, self.batch, threads, stack, self.library)]
            baselines = tuple(opened(self.baseline, group[0].model, threads, stack))
            if not compared:
                compared.update(self._compare(group[0], subjects, reference, outcome, progress))
            for subject in subjects:
                subject.accuracy = compared[subject.name]
            timing = trials.Timing(self.warmup, self.duration, threads, baselines, progress, self.device_only, self.streams)
            outcome.add(reference, *trials.measured(subjects, reference, timing))

    def _compare(
        self, engine: Built, subjects: list[trials.Subject], reference: Reference, outcome: _Outcome, progress: Progress
    ) -> dict[str, Accumulator]:
        chosen = tried.choose(engine, reference, self.wanted)
        for subject in subjects:
            subject.judge(chosen.task, chosen.pairs)
        trials.compare(subjects, reference, chosen.samples, progress)
        outcome.notes += [*reference.notes, *chosen.notes, *tried.skipped(chosen.samples)]
        outcome.failures += trials.faults(subjects, reference)
        outcome.preprocess_ms = tried.preprocess_ms(chosen.samples)
        return {subject.name: subject.accuracy for subject in subjects}


@dataclass
class _Outcome:
    """What the groups of engines, one for each export, add up to."""

    notes: list[str]
    failures: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    reference: Measured | None = None
    preprocess_ms: float | None = None
    groups: int = 0

    def add(self, reference: Reference, runs: list[Run], beside: list[ReferenceRun]) -> None:
        """Runs, and the reference's latency beside them."""
        self.runs += runs
        self.notes += trials.restless(runs)
        if self.reference is None:
            self.reference = Measured(kind=reference.kind, latency_ms=beside[0].latency_ms)
        if self.groups == 1:
            self.reference = self.reference.model_copy(update={"batches": (*self.reference.batches, *beside)})

    def report(self, threads: tuple[int, ...], included: Included) -> BenchReport:
        """The report."""
        if self.reference is None:
            raise ArtifactError("no engine is named", "name one, or leave the list out for the newest")
        if self.groups > 1:
            self.notes.append("the engines are of several exports, each against its own reference; `reference` has the first one's latency")
        return BenchReport(
            runs=tuple(self.runs),
            reference=self.reference,
            passed=not self.failures,
            included=included,
            preprocess_ms=self.preprocess_ms,
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
