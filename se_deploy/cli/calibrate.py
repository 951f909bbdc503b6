"""`se-deploy calibrate`: images to a scale file, in one run or in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from se_deploy.cli import render


def calibrate(
    model: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A model directory or its model.onnx. Left out: the newest export. With --merge: every shard's file, and the model too.",
            show_default=False,
        ),
    ] = None,
    calib: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of images; sub-folders are read too.", show_default=False)
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Use so many, spread evenly over the folder. Left out: all.", show_default=False)
    ] = None,
    method: Annotated[
        str, typer.Option(help="minmax, percentile, entropy, mse; auto: for each tensor the one of the least squared error.")
    ] = "auto",
    repairs: Annotated[
        Literal["auto", "none"], typer.Option(help="none: leave the graph as it is, less exact and faster to run.")
    ] = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Left out: calibration/NAME.json.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run that was killed left off.")] = False,
    runner: Annotated[Literal["local", "ray"], typer.Option(help="ray: in parts on a Ray cluster, which sees the same paths.")] = "local",
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Look at one part of the images and write histograms.", show_default=False)
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Make scales of the files that --shard wrote; --calib DIR lets their images judge repairs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the ranges that INT8 needs, on your images; memory does not grow with their number.

    \b
    Examples:
      se-deploy calibrate --calib imgs/
      se-deploy calibrate engines/se_resnet50 --calib imgs/ --images 200
      se-deploy calibrate --calib imgs/ --shard 1/2 -o a.safetensors
      se-deploy calibrate --merge a.safetensors b.safetensors --calib imgs/ -o scales.json
      se-deploy build --int8 --scales calibration/se_resnet50.json
    """
    given = model or []
    if merge:
        if images is not None or shard is not None or resume or runner != "local" or repairs != "auto":
            raise typer.BadParameter("--merge takes the shards' files, the model, --calib, --method and -o alone")
        models = [path for path in given if path.is_dir() or path.suffix == ".onnx"]
        files = [path for path in given if path not in models]
        if not files:
            raise typer.BadParameter("--merge needs the files that --shard wrote")
        if len(models) > 1 or (models and calib is None):
            raise typer.BadParameter("--merge takes one model, and for that the images too: --calib DIR")
        from se_deploy.stages.merge import merge as join

        render.result(join(files, model=models[0] if models else None, calib=calib, output=output, method=method), as_json)
        return
    if calib is None:
        raise typer.BadParameter("--calib DIR is missing")
    if len(given) > 1:
        raise typer.BadParameter("one model at a time; --merge takes several files")
    from se_deploy.stages.calibrate import calibrate as stage

    with render.progress() as progress:
        result = stage(
            given[0] if given else None,
            calib=calib,
            images=images,
            method=method,
            repairs=repairs,
            output=output,
            shard=shard,
            resume=resume,
            runner=runner,
            progress=progress,
        )
    render.result(result, as_json)
