"""`se-deploy bench`: accuracy and latency against the PyTorch reference."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render, tables


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
    baseline: Annotated[
        list[Path] | None, typer.Option(help="An engine or any .onnx file, timed in the same rounds; repeatable.", show_default=False)
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV of `file,file,same` lines: verification by embeddings.", show_default=False)
    ] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="The output is an embedding: cosines, no classes.")] = False,
    rtol: Annotated[
        list[str] | None,
        typer.Option(metavar="[OUT:]V", help="Relative tolerance of every element, as in Polygraphy; repeatable.", show_default=False),
    ] = None,
    atol: Annotated[
        list[str] | None,
        typer.Option(metavar="[OUT:]V", help="Absolute tolerance; one of the two is to be kept.", show_default=False),
    ] = None,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds of calls before measuring; on until steady, at most 3 times that.")] = 1.0,
    duration: Annotated[float, typer.Option(min=0.01, help="Seconds of measuring for each engine and batch.")] = 3.0,
    threads: Annotated[
        str | None, typer.Option(metavar="N[,N]...", help="For engine and PyTorch alike; else PyTorch's.", show_default=False)
    ] = None,
    runtime: Annotated[
        Runtime, typer.Option(help="cpp: the C++ loader that `package --cpp` deploys, compiled the first time.")
    ] = Runtime.python,
    device_only: Annotated[bool, typer.Option("--device-only", help="TensorRT: latency by the GPU's clock, copies left out.")] = False,
    streams: Annotated[str, typer.Option(metavar="N[,N]...", help="TensorRT: contexts at once, each on its own stream.")] = "1,2",
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file too.", show_default=False)] = None,
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
      se-deploy bench engine.onnx --min-agreement 99 --atol 1e-3 --json
      se-deploy bench fp32.onnx int8.onnx --baseline plain.onnx --html report.html
      se-deploy bench engine.onnx --runtime cpp
    """
    sizes, counts, at_once = _sizes("--batch", batch), _sizes("--threads", threads), _sizes("--streams", streams)
    from se_deploy.stages.bench import bench as stage

    with render.progress() as progress:
        report = stage(
            engines or None,
            data=data,
            labels=labels,
            batch=sizes,
            warmup=warmup,
            duration=duration,
            threads=counts,
            baseline=baseline or (),
            pairs=pairs,
            embeddings=embeddings,
            rtol=rtol or (),
            atol=atol or (),
            html=html,
            runtime=runtime.value,
            device_only=device_only,
            streams=at_once or (),
            min_agreement=min_agreement,
            max_p99=max_p99,
            progress=progress,
        )
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        tables.bench(report)
    report.check()


def _sizes(option: str, words: str | None) -> list[int] | None:
    if words is None:
        return None
    sizes = words.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise typer.BadParameter(f"{words!r} is not a list of numbers such as 1,8", param_hint=option)
    return [int(size) for size in sizes]
