"""The tables that `bench`, `bisect` and `run` print."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from se_deploy.stages.bench import Accuracy, BenchReport, Interval, ReferenceRun, Run
    from se_deploy.stages.bisect import Bisection, Place
    from se_deploy.stages.run import RunReport

#: Rows of the tables that could go on: classes, images.
MOST = 5


def bench(report: BenchReport) -> None:
    """Prints the table of engines, and below it what there is to say on each; as wide as it wants where the output is not a terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 280, highlight=False, emoji=False)
    console.print(_engines(report))
    if any(run.gpu for run in report.runs):
        console.print(_gpu(report))
    seen = set()
    for run in report.runs:
        if run.engine not in seen:
            seen.add(run.engine)
            for table in _details(run):
                console.print(table)


def _named(report: BenchReport) -> str:
    return "PyTorch" if report.reference.kind == "pytorch" else "plain.onnx, ONNX Runtime"


def _plain(title: str, left: tuple[str, ...], right: tuple[str, ...], caption: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption=caption, box=box.SIMPLE)
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _engines(report: BenchReport) -> Table:
    """A row for the reference at each batch, and one for each engine and batch."""
    first, name = report.runs[0], _named(report)
    prepared = "" if report.preprocess_ms is None else f" (decoding and preparing an image takes {report.preprocess_ms:.2f} ms)"
    caption = (
        f"latency in ms per batch, {_included(report)}, preprocessing left out{prepared}; "
        f"{_threads(report)} thread(s) for the engine and for {name}, measured in turns; [ ] are 95 % intervals"
    )
    against = [versus.name for versus in first.baselines]
    batch = "batch" if len(report.threads) == 1 else "batch on threads"
    headings = (batch, "size", "agreement", "top-1", "p50", "p99", "images/s", "speed-up", *(f"over {other}" for other in against))
    table = _plain(f"{first.accuracy.images} images, {first.device}", ("engine", "backend", "precision"), headings, caption)
    for beside in report.reference.batches:
        size = _batch(report, beside.batch, beside.threads)
        table.add_row(*_reference(beside, name, size, _share(first.accuracy.top1_reference)), *("" for _ in against))
    for run in report.runs:
        ratios = {versus.name: _times(versus.speedup) for versus in run.baselines}
        table.add_row(*_cells(run, _batch(report, run.batch, run.threads)), *(ratios.get(other, "") for other in against))
    return table


def _threads(report: BenchReport) -> str:
    return ", ".join(map(str, report.threads))


def _batch(report: BenchReport, batch: int, threads: int) -> str:
    """The batch size, with the threads where there are several counts of them."""
    return str(batch) if len(report.threads) == 1 else f"{batch} on {threads}"


def _reference(beside: ReferenceRun, name: str, size: str, top1: str) -> tuple[str, ...]:
    times = beside.latency_ms
    speed = f"{beside.throughput:.1f}"
    return ("reference", name, "fp32", size, "", "", top1, f"{times.p50:.2f}", f"{times.p99:.2f}", speed, "")


def _cells(run: Run, size: str) -> tuple[str, ...]:
    accuracy, times = run.accuracy, run.latency_ms
    return (
        run.engine,
        run.backend,
        run.precision,
        size,
        f"{run.size_bytes / 1e6:.1f} MB",
        _share(accuracy.agreement),
        _share(accuracy.top1),
        f"{times.p50:.2f}",
        f"{times.p99:.2f}",
        f"{run.throughput:.1f}",
        _times(run.speedup),
    )


def _included(report: BenchReport) -> str:
    if report.included.copies:
        return "host memory to host memory, copies included"
    return "on the device by its own clock, copies left out"


def _gpu(report: BenchReport) -> Table:
    """What only a GPU has: a row for each engine and batch."""
    headings = ("batch", "p50", "p99", "p50 graph", "p99 graph", "images/s by streams", "clocks before, after")
    table = _plain("on the device", ("engine",), headings, "ms by the device's clock, copies left out; graph: a CUDA graph replayed")
    for run in report.runs:
        if run.gpu is None or run.device_latency_ms is None:
            continue
        times = (run.device_latency_ms.p50, run.device_latency_ms.p99, run.gpu.graph_latency_ms.p50, run.gpu.graph_latency_ms.p99)
        streams = ", ".join(f"{count}: {speed:.0f}" for count, speed in run.gpu.streams.items())
        clocks = [
            f"{measured['sm_mhz']:.0f} MHz" if "sm_mhz" in measured else "?" for measured in (run.gpu.clocks_before, run.gpu.clocks_after)
        ]
        table.add_row(run.engine, str(run.batch), *(f"{time:.3f}" for time in times), streams, ", ".join(clocks))
    return table


def _details(run: Run) -> list[Table]:
    accuracy = run.accuracy
    tables = [_outputs(run)]
    if accuracy.paired is not None or accuracy.verification is not None:
        tables.append(_tests(accuracy))
    lost = [drop for drop in accuracy.classes if drop.drop > 0][:MOST]
    if lost:
        table = _plain("classes that lost most", ("class",), ("images", "top-1", "reference", "drop"))
        for drop in lost:
            table.add_row(drop.name, str(drop.images), *(f"{value:.1f} %" for value in (drop.top1, drop.top1_reference, drop.drop)))
        tables.append(table)
    table = _plain("images farthest from the reference", ("image", "output", "answer", "reference", "label"), ("error / size",))
    for image in accuracy.worst[:MOST]:
        answers = (image.answer or "", image.reference or "", image.label or "")
        table.add_row(image.name, image.output, *answers, "not finite" if image.error is None else f"{image.error:.2g}")
    return [*tables, table]


def _outputs(run: Run) -> Table:
    outputs = run.accuracy.outputs
    maps, kept_to = any(o.iou is not None for o in outputs), any(o.tolerance is not None for o in outputs)
    headings = ("max", "mean", "p99", "cosine", "SQNR", *("IoU",) * maps, *("tolerance",) * kept_to, "NaN, Inf")
    table = _plain(f"{run.engine}: errors per output", ("output", "shape"), headings)
    for output in outputs:
        kept = output.tolerance
        within = "" if kept is None else "kept" if kept.passed else f"{kept.beyond_percent:.3g} % beyond"
        table.add_row(
            output.name,
            "x".join(map(str, output.shape)) or "1",
            *("" if value is None else f"{value:.3g}" for value in (output.max, output.mean, output.p99)),
            "" if output.cosine is None else f"{output.cosine:.6f}",
            "" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB",
            *("" if output.iou is None else f"{output.iou:.4f}",) * maps,
            *(within,) * kept_to,
            ", ".join(f"{seen.kind} {seen.images}" for seen in output.non_finite) or "none",
        )
    return table


def _tests(accuracy: Accuracy) -> Table:
    """The paired tests: top-1, and verification of pairs."""
    headings = ("engine", "reference", "engine alone right", "reference alone right", "McNemar p", "drop in points")
    table = _plain("paired with the reference", ("what",), headings)
    rows = [("top-1", accuracy.top1, accuracy.top1_reference, accuracy.paired)]
    if accuracy.verification is not None:
        found = accuracy.verification
        rows.append((f"verification of {found.pairs} pairs", found.accuracy, found.accuracy_reference, found.paired))
    for what, ours, theirs, test in rows:
        if test is not None:
            drop = f"{test.drop.value:.2f} [{test.drop.low:.2f}, {test.drop.high:.2f}]"
            table.add_row(what, _share(ours), _share(theirs), str(test.only_engine), str(test.only_reference), f"{test.p:.3g}", drop)
    return table


def _share(value: Interval | None) -> str:
    return "" if value is None else f"{value.value:.2f} % [{value.low:.2f}, {value.high:.2f}]"


def _times(value: Interval) -> str:
    return f"{value.value:.2f}x [{value.low:.2f}, {value.high:.2f}]"


def bisection(found: Bisection) -> None:
    """Prints the verdict, the shares, and the pieces that are farthest from the reference by themselves."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(width=None if sys.stdout.isatty() else 280, highlight=False, emoji=False)
    for sentence in _verdict(found):
        console.print(escape(sentence), soft_wrap=True)
    if found.shares:
        table = _plain("alone in the FP32 network", ("SE block or layer",), ("share of the error", "error at the outputs"))
        for share in found.shares[: 2 * MOST]:
            table.add_row(share.name, f"{share.share:.1f} %", f"{share.output_error:.2g}")
        console.print(table)
    table = _plain("pieces farthest from the reference by themselves", ("tensor", "block or module", "nodes"), ("own error", "carried"))
    for place in sorted(found.places, key=_own, reverse=True)[:MOST]:
        nodes = ", ".join(place.nodes[-2:])
        table.add_row(place.tensor, place.block or place.module, nodes, _error(place.own, place), _error(place.carried, place))
    console.print(table)


def _own(place: Place) -> float:
    return float("inf") if place.own is None else place.own


def _error(value: float | None, place: Place) -> str:
    return place.non_finite or "" if value is None else f"{value:.2g}"


def _verdict(found: Bisection) -> Iterator[str]:
    ends = ", ".join(f"{o.name} {o.non_finite or f'{o.error:.2g}'}" for o in found.outputs) or "not known"
    yield f"{found.engine} ({found.backend} {found.precision}), {found.images} image(s): error at the outputs {ends}"
    first = found.first
    if first is None:
        yield f"no place leaves the reference by more than {found.tolerance:g}"
        return
    where = f"SE block {first.block}" if first.block else f"layer {first.module}"
    if found.kind == "own":
        yield f"first place that leaves the reference by itself: {where}, tensor {first.tensor}, made by {', '.join(first.nodes)}"
        yield f"alone on the reference's tensors it is {_error(first.own, first)} off ({found.tolerance:g} allowed)"
    else:
        yield f"no piece leaves the reference by itself by more than {found.tolerance:g}; what they round adds up"
        yield f"first place where that passes {found.tolerance:g}: {where}, tensor {first.tensor} (own error {_error(first.own, first)})"
    if found.saved is not None:
        yield f"to see it by ONNX Runtime alone: python {found.saved / 'reproduce.py'}"


def steps(done: RunReport) -> None:
    """Prints what was done, skipped or planned, and the bench's tables."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 280, highlight=False, emoji=False)
    table = _plain(done.model, ("step", "status", "why"), ("seconds",))
    for step in done.steps:
        table.add_row(step.name, step.status, step.why, "" if step.seconds is None else f"{step.seconds:.1f}")
    console.print(table)
    if done.bench is not None:
        bench(done.bench)
