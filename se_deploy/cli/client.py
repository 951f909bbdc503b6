"""`se-deploy client`: images to a running Triton, classes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from se_deploy.stages.client import ClientReport


def client(
    url: Annotated[str, typer.Argument(help="http://HOST:8000 or grpc://HOST:8001.")],
    model: Annotated[str, typer.Argument(help="The model's name on the server.")],
    images: Annotated[Path, typer.Argument(help="A folder of images, or one image.")],
    top: Annotated[int, typer.Option(min=1, help="Classes for each image.")] = 1,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in each request; else up to 8.", show_default=False)] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for each answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask a model that `package --triton` wrote, on a running Triton: a line for each image, with its classes and scores.

    \b
    Examples:
      se-deploy client http://127.0.0.1:8000 se_resnet50 imgs/
      se-deploy client grpc://127.0.0.1:8001 se_resnet50_images imgs/ --top 5
    """
    from se_deploy.stages.client import client as stage

    with render.progress() as progress:
        report = stage(url, model, images, top=top, batch=batch, timeout=timeout, progress=progress)
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        _print(report)


def _print(report: ClientReport) -> None:
    for answer in report.answers:
        best = (f"{g.index if g.label is None else g.label} ({g.score:.4g})" for g in answer.classes)
        print(f"{answer.file}\t{', '.join(best)}")
