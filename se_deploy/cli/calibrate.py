"""`se-deploy calibrate`: images to a scale file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render


def calibrate(
    calib: Annotated[Path, typer.Option(help="A folder of images; sub-folders are read too.")],
    model: Annotated[
        Path | None, typer.Argument(help="A model directory or its model.onnx. Left out: the newest export.", show_default=False)
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Use so many, spread evenly over the folder. Left out: all.", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="How a scale follows from what was seen: minmax.")] = "minmax",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The scale file. Left out: calibration/NAME.json.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the ranges that INT8 needs, on your images; memory does not grow with their number.

    \b
    Examples:
      se-deploy calibrate --calib imgs/
      se-deploy calibrate engines/se_resnet50 --calib imgs/ --images 200
      se-deploy build --int8 --scales calibration/se_resnet50.json
    """
    from se_deploy.stages.calibrate import calibrate as stage

    with render.progress() as progress:
        result = stage(model, calib=calib, images=images, method=method, output=output, progress=progress)
    render.result(result, as_json)
