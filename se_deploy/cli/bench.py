"""`se-deploy bench`: accuracy and latency against the PyTorch reference."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from se_deploy.stages.bench import BenchReport, Interval, Run


class Runtime(StrEnum):
    """What runs the engines."""

    python = "python"
    cpp = "cpp"


def bench(
    engines: Annotated[
        list[Path] | None, typer.Argument(metavar="[ENGINE]...", help="Left out: the newest under engines/.", show_default=False)
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A folder of images; its sub-folders are the classes.", show_default=False)] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A CSV of `file,class` lines, files relative to --data; without it, to the CSV.", show_default=False)
    ] = None,
    batch: Annotated[str | None, typer.Option(metavar="N[,N]...", help="Such as 1,8; else 1, or the engine's.", show_default=False)] = None,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds of calls before measuring, at least three calls.")] = 1.0,
    duration: Annotated[float, typer.Option(min=0.01, help="Seconds of measuring for each engine and batch.")] = 3.0,
    threads: Annotated[int | None, typer.Option(min=1, help="For engine and PyTorch alike; else PyTorch's.", show_default=False)] = None,
    runtime: Annotated[
        Runtime, typer.Option(help="cpp: the C++ loader that `package --cpp` deploys, compiled the first time.")
    ] = Runtime.python,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=100, help="Exit 3 where agreement is lower, in percent.", show_default=False)
    ] = None,
    max_p99: Annotated[float | None, typer.Option(min=0, help="Exit 3 where a run's p99 is longer, in ms.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare engines with the PyTorch reference: agreement and top-1 with 95 % intervals, latency in turns with PyTorch's own.

    \b
    Examples:
      se-deploy bench engine.onnx
      se-deploy bench --data imgs/val --batch 1,8
      se-deploy bench engine.onnx --min-agreement 99 --json
      se-deploy bench engine.onnx --runtime cpp
    """
    sizes = _sizes(batch)
    from se_deploy.stages.bench import bench as stage

    with render.progress() as progress:
        report = stage(
            engines or None,
            data=data,
            labels=labels,
            batch=sizes,
            warmup=warmup,
            duration=duration,
            threads=threads,
            runtime=runtime.value,
            min_agreement=min_agreement,
            max_p99=max_p99,
            progress=progress,
        )
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        _print(report)
    report.check()


def _sizes(words: str | None) -> list[int] | None:
    if words is None:
        return None
    sizes = words.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise typer.BadParameter(f"{words!r} is not a list of batch sizes such as 1,8", param_hint="--batch")
    return [int(size) for size in sizes]


def _print(report: BenchReport) -> None:
    """The table; as wide as it wants where the output is not a terminal."""
    import sys

    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(_table(report))


def _table(report: BenchReport) -> Table:
    """A row for the reference and one for each engine and batch."""
    from rich import box
    from rich.table import Table

    name = "PyTorch" if report.reference.kind == "pytorch" else "plain.onnx, ONNX Runtime"
    first = report.runs[0]
    table = Table(
        title=f"{first.accuracy.images} images, {first.device}",
        caption=f"latency in ms per batch, host memory to host memory, preprocessing left out; {report.threads} thread(s) for the engine "
        f"and for {name}, measured in turns; [ ] are 95 % intervals",
        box=box.SIMPLE,
    )
    for heading in ("engine", "backend", "precision"):
        table.add_column(heading, overflow="fold")
    for heading in ("batch", "size", "agreement", "top-1", "p50", "p99", "images/s", "speed-up"):
        table.add_column(heading, justify="right")
    times = report.reference.latency_ms
    speed = f"{1000 * first.batch / times.mean:.1f}"
    top1 = _share(first.accuracy.top1_reference)
    table.add_row("reference", name, "fp32", str(first.batch), "", "", top1, f"{times.p50:.2f}", f"{times.p99:.2f}", speed, "")
    for run in report.runs:
        table.add_row(*_cells(run))
    return table


def _cells(run: Run) -> tuple[str, ...]:
    accuracy, times = run.accuracy, run.latency_ms
    return (
        run.engine,
        run.backend,
        run.precision,
        str(run.batch),
        f"{run.size_bytes / 1e6:.1f} MB",
        _share(accuracy.agreement),
        _share(accuracy.top1),
        f"{times.p50:.2f}",
        f"{times.p99:.2f}",
        f"{run.throughput:.1f}",
        f"{run.speedup.value:.2f}x [{run.speedup.low:.2f}, {run.speedup.high:.2f}]",
    )


def _share(value: Interval | None) -> str:
    return "" if value is None else f"{value.value:.2f} % [{value.low:.2f}, {value.high:.2f}]"
