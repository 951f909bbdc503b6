"""`se-deploy bisect`: the first place at which an engine leaves the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render, tables


def bisect(
    engine: Annotated[Path | None, typer.Argument(help="Left out: the newest under engines/.", show_default=False)] = None,
    data: Annotated[Path | None, typer.Option(help="A folder of images; else the export's probes.", show_default=False)] = None,
    images: Annotated[int, typer.Option(min=1, help="How many images to run.")] = 4,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="|error| / |reference| of a piece; else 1e-4, 0.01 or 0.2 by precision.", show_default=False)
    ] = None,
    marks: Annotated[str, typer.Option(help="Tensors of the engine's own run to look at: auto, tensors or blocks.")] = "auto",
    shares: Annotated[bool, typer.Option(help="Follow each piece's error to the outputs.")] = True,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the failing piece, its inputs and a script that shows it.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine; else the backend's choice.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Name the first tensor and SE block at which an engine leaves the FP32 reference, and each block's share of the error.

    \b
    Examples:
      se-deploy bisect engine.onnx
      se-deploy bisect int8.onnx --data imgs/val --images 8
      se-deploy bisect int8.onnx --save failing && python failing/reproduce.py
    """
    if marks not in ("auto", "tensors", "blocks"):
        raise typer.BadParameter(f"{marks!r} is none of auto, tensors, blocks", param_hint="--marks")
    from se_deploy.stages.bisect import bisect as stage

    with render.progress() as progress:
        found = stage(
            engine,
            data=data,
            images=images,
            tolerance=tolerance,
            marks=marks,  # type: ignore[arg-type]  # checked above
            shares=shares,
            save=save,
            threads=threads,
            progress=progress,
        )
    render.notes(found.notes)
    if as_json:
        render.record(found)
    else:
        tables.bisection(found)
