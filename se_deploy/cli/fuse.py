"""`se-deploy fuse`: the rewrite alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render


def fuse(
    model: Annotated[Path, typer.Argument(help="An .onnx file, or a model directory.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.", show_default=False)],
    unfuse: Annotated[bool, typer.Option("--unfuse", help="Write the plain graph again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write an ONNX file with one SqueezeExcite node for each SE block, or, with --unfuse, the plain graph again.

    \b
    Examples:
      se-deploy fuse resnet.onnx -o fused.onnx
      se-deploy fuse fused.onnx -o plain.onnx --unfuse
    """
    from se_deploy.stages.fuse import fuse as stage

    with render.progress() as progress:
        made = stage(model, output, unfuse=unfuse, force=force, progress=progress)
    render.result(made, as_json)
