"""The tables that `bench` and `run` print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from se_deploy.stages.bench import Accuracy, BenchReport, Interval, ReferenceRun, Run

#: Rows of the tables that could go on: classes, images.
MOST = 5


def bench(report: BenchReport) -> None:
    """Prints the table of engines, and below it what there is to say on each; as wide as it wants where the output is not a terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 280, highlight=False)
    console.print(_engines(report))
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
        f"latency in ms per batch, host memory to host memory, copies included, preprocessing left out{prepared}; "
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
    headings = ("max", "mean", "p99", "cosine", "SQNR", "tolerance", "NaN, Inf")
    table = _plain(f"{run.engine}: errors per output", ("output", "shape"), headings)
    for output in run.accuracy.outputs:
        kept = output.tolerance
        within = "" if kept is None else "kept" if kept.passed else f"{kept.beyond_percent:.3g} % beyond"
        table.add_row(
            output.name,
            "x".join(map(str, output.shape)) or "1",
            *("" if value is None else f"{value:.3g}" for value in (output.max, output.mean, output.p99)),
            "" if output.cosine is None else f"{output.cosine:.6f}",
            "" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB",
            within,
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
