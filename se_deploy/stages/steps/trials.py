"""Engines on trial: opened at a batch size, fed with the same samples as the reference, timed in turns with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from se_deploy import backends
from se_deploy.artifacts import InputSpec, Progress
from se_deploy.backends import OnDevice, Runner
from se_deploy.errors import ArtifactError, BackendError
from se_deploy.stages.steps import device
from se_deploy.stages.steps.baselines import Baseline
from se_deploy.stages.steps.engines import Built
from se_deploy.verify import latency, rows
from se_deploy.verify.accuracy import Accumulator, Task
from se_deploy.verify.intervals import ratio
from se_deploy.verify.report import ReferenceRun, Run, Versus
from se_deploy.verify.samples import Samples
from se_deploy.verify.verification import Embeddings, Pair

if TYPE_CHECKING:
    from se_deploy.stages.steps.reference import Reference

#: Images that are prepared, and answered by the reference, at once.
CHUNK = 16
#: Rows of the batch on which rows are checked where no larger batch than 1 is asked for.
ROWS = 3


@dataclass
class Subject:
    """One opened engine at one batch size."""

    built: Built
    runner: Runner
    device: str
    batch: int
    accuracy: Accumulator = field(init=False)

    def __post_init__(self) -> None:
        self.accuracy = Accumulator(self.name)

    def judge(self, task: Task, pairs: Sequence[Pair]) -> None:
        """Says what the outputs are for."""
        self.accuracy = Accumulator(self.name, task, Embeddings(pairs) if pairs else None)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.built.path} at batch {self.batch}"


def opened(engine: Built, batch: Sequence[int] | None, threads: int, stack: ExitStack, loader: Path | None = None) -> Iterator[Subject]:
    """The engine at each batch size, in its backend's own Python interface or in the C++ loader's library."""
    backend = backends.get(engine.manifest.backend)
    missing = backend.missing() if loader is None else None
    if missing is not None:
        raise BackendError(f"{engine.path} needs {backend.name}, which does not work here", missing)
    sizes = _sizes(engine, batch, least=engine.manifest.inputs[0].min[0] if backend.strongly_typed else 1)
    if backend.strongly_typed:
        _check_profile(engine, sizes)
    runner: Runner = stack.enter_context(_loaded(loader, engine, threads) if loader else backend.open(engine.path, threads=threads))
    gone = {output.name for output in engine.model.outputs} - {port.name for port in runner.outputs}
    if gone:
        raise ArtifactError(f"{engine.path} has no output {', '.join(sorted(gone))}, which the reference has", "build it again")
    for size in sizes:
        yield Subject(engine, runner, backend.device(), size)


def _sizes(engine: Built, batch: Sequence[int] | None, least: int) -> list[int]:
    """The batch sizes asked for, each once; else the only one, or the least."""
    fixed = _fixed(engine.manifest.inputs[0])
    sizes = list(dict.fromkeys(batch or [fixed or least]))
    for size in sizes:
        if size < 1 or (fixed is not None and size != fixed):
            is_fixed = f"its batch is fixed at {fixed}" if fixed else "a batch has at least one row"
            raise BackendError(f"{engine.path} does not run at batch {size}: {is_fixed}", f"take --batch {fixed or 1}")
    return sizes


def _check_profile(engine: Built, sizes: Sequence[int]) -> None:
    """TensorRT runs within what it was built for."""
    spec = engine.manifest.inputs[0]
    for size in sizes:
        if not spec.min[0] <= size <= spec.max[0]:
            said = f"{engine.path} does not run at batch {size}: it was built for {spec.min[0]} to {spec.max[0]}"
            raise BackendError(said, f"build it with --shapes {spec.name}:1,{size},{max(size, spec.max[0])}")


def _loaded(loader: Path, engine: Built, threads: int) -> Runner:
    from se_deploy.backends.cpp import Loaded

    manifest = engine.manifest
    return Loaded(loader, engine.path, manifest.inputs, manifest.outputs, backend=manifest.backend, threads=threads)


def _fixed(spec: InputSpec) -> int | None:
    size = spec.shape[0]
    return size if isinstance(size, int) else None


def compare(subjects: list[Subject], reference: Reference, samples: Samples, progress: Progress) -> None:
    """Feeds every engine and the reference with the same samples."""
    largest = max(subject.batch for subject in subjects)
    done = 0
    for chunk in samples.chunks(largest * -(-CHUNK // largest)):
        expected = chunk.expected or reference.answer(chunk.feeds)
        for subject in subjects:
            got = rows.in_batches(subject.runner.run, chunk.feeds, subject.batch, subject.name)
            subject.accuracy.add(got, expected, chunk.names, chunk.labels)
        done += len(chunk.names)
        progress("compare answers", done, len(samples))


def faults(subjects: list[Subject], reference: Reference) -> list[str]:
    """Sentences on NaN and Inf, and on rows that are not kept apart."""
    return [fault for subject in subjects for fault in (*subject.accuracy.faults(), *_mixed(subject, reference))]


def _mixed(subject: Subject, reference: Reference) -> list[str]:
    """A sentence for each batch of differing rows that does not give what its rows give alone."""
    spec = subject.built.manifest.inputs[0]
    fixed = _fixed(spec) is not None
    sizes = [subject.batch if subject.batch > 1 or fixed else min(ROWS, spec.max[0])]
    if isinstance(subject.runner, OnDevice) and not fixed:  # another kernel may run at each end of the profile
        sizes += [spec.opt[0], spec.max[0]]
    return [said for size in dict.fromkeys(sizes) if size > 1 for said in _mixed_at(size, subject, reference)]


def _mixed_at(size: int, subject: Subject, reference: Reference) -> list[str]:
    spec = subject.built.manifest.inputs[0]
    fixed = _fixed(spec) is not None
    least = spec.min[0] if isinstance(subject.runner, OnDevice) else 1
    feeds, run = rows.distinct(reference.probes.feeds, size), subject.runner.run
    together = rows.in_batches(run, feeds, size, subject.name)
    alone = rows.elsewhere(run, feeds) if fixed else rows.in_batches(run, feeds, least, subject.name)
    wrong = rows.wrong_row(together, alone, subject.built.manifest.precision)
    if wrong is None:
        return []
    where = "at another place of the batch" if fixed else "alone"
    return [
        f"{subject.built.path}: row {wrong.row} of a batch of {size} differing rows is {wrong.error:.3g} from what it gives {where} "
        f"(output {wrong.output}, {wrong.allowed:.3g} allowed)"
    ]


@dataclass(frozen=True)
class Timing:
    """How latency is measured: seconds of warm-up and of measuring, threads, and what else is timed in the same rounds."""

    warmup: float
    duration: float
    threads: int
    baselines: Sequence[Baseline]
    progress: Progress
    #: Latency is the device's own time, copies left out.
    device_only: bool = False
    #: Numbers of contexts that a GPU runs at once.
    streams: Sequence[int] = (1, 2)


def measured(subjects: list[Subject], reference: Reference, timing: Timing) -> tuple[list[Run], list[ReferenceRun]]:
    """Every subject's run in the subjects' order, and the reference's at each batch size."""
    made: dict[int, Run] = {}
    beside = []
    for size in dict.fromkeys(subject.batch for subject in subjects):
        feeds = rows.distinct(reference.probes.feeds, size)
        chosen = {f"subject {number}": number for number, subject in enumerate(subjects) if subject.batch == size}
        others = {f"baseline {b.name}": b for b in timing.baselines if b.takes(size)}
        calls: dict[str, latency.Call] = {"reference": partial(reference.answer, feeds)}
        calls |= {key: partial(subjects[number].runner.run, feeds) for key, number in chosen.items()}
        calls |= {key: partial(baseline.runner.run, baseline.fed(feeds)) for key, baseline in others.items()}
        warm = latency.warmed(calls, timing.warmup)
        what = f"measure latency at batch {size}"
        blocks = latency.interleaved(calls, warm, duration=timing.duration, what=what, progress=timing.progress)
        for key, number in chosen.items():
            on_device = _on_device(subjects[number], feeds, timing)
            mine = blocks[key]
            if on_device is not None and timing.device_only:
                mine = device.as_blocks(on_device.times, len(blocks["reference"]))
            against = tuple(_versus(baseline.name, blocks[other], mine) for other, baseline in others.items())
            run = _run(subjects[number], mine, blocks["reference"], warm[key], timing.threads, against)
            made[number] = run if on_device is None else _with_device(run, on_device)
        beside.append(_beside(size, timing.threads, blocks["reference"]))
    return [made[number] for number in sorted(made)], beside


def _on_device(subject: Subject, feeds: rows.Tensors, timing: Timing) -> device.Measured | None:
    """What a GPU tells of itself; None on a CPU, which has no other clock than the host's."""
    if not isinstance(subject.runner, OnDevice):
        if timing.device_only:
            raise BackendError(f"{subject.built.path} runs on the host, which has no other clock", "leave --device-only out")
        return None
    return device.measure(subject.runner, feeds, duration=timing.duration, streams=timing.streams)


def _with_device(run: Run, measured: device.Measured) -> Run:
    return run.model_copy(update={"device_latency_ms": latency.summary([measured.times]), "gpu": measured.gpu})


def _versus(name: str, theirs: list[list[float]], ours: list[list[float]]) -> Versus:
    speedup = ratio(latency.block_means(theirs), latency.block_means(ours))
    return Versus(name=name, latency_ms=latency.summary(theirs), speedup=speedup)


def _beside(size: int, threads: int, blocks: list[list[float]]) -> ReferenceRun:
    times = latency.summary(blocks)
    speed = 1000 * size / times.mean
    return ReferenceRun(batch=size, threads=threads, latency_ms=times, throughput=speed, histogram_ms=latency.histogram(blocks))


def _run(
    subject: Subject,
    blocks: list[list[float]],
    reference: list[list[float]],
    warm: latency.Warm,
    threads: int,
    baselines: tuple[Versus, ...],
) -> Run:
    times = latency.summary(blocks)
    return Run(
        engine=str(subject.built.path),
        backend=subject.built.manifest.backend,
        precision=subject.built.manifest.precision,
        device=subject.device,
        batch=subject.batch,
        size_bytes=subject.built.size_bytes(),
        accuracy=subject.accuracy.report(),
        latency_ms=times,
        device_latency_ms=None,
        throughput=1000 * subject.batch / times.mean,
        speedup=ratio(latency.block_means(reference), latency.block_means(blocks)),
        threads=threads,
        warmup=warm.report,
        histogram_ms=latency.histogram(blocks),
        baselines=baselines,
    )


def restless(runs: Sequence[Run]) -> list[str]:
    """A remark on each run that was warmed up and did not become steady."""
    return [
        f"{run.engine} at batch {run.batch} was not steady after {run.warmup.seconds:.1f} s of warm-up: its latency holds for that"
        for run in runs
        if not run.warmup.steady and run.warmup.calls > latency.FEWEST_WARMUPS
    ]
