"""`se-deploy fold`: constant gates into the neighbouring layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from se_deploy.stages.fold import FoldReport


def fold(
    model: Annotated[Path, typer.Argument(help="A model directory, or its model.onnx.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Images: half say what the gates are, half judge. Not the test images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new model directory.")],
    max_drop: Annotated[float | None, typer.Option("--max-drop", min=0, max=100, help="Points of top-1 that it may cost (0.5).")] = None,
    min_agreement: Annotated[
        float | None, typer.Option("--min-agreement", min=0, max=100, help="Percent of images whose answer stays.")
    ] = None,
    epsilon: Annotated[float, typer.Option("--epsilon", help="A gate whose standard deviation is above this varies.")] = 0.1,
    target: Annotated[str, typer.Option("--target", help="Whose predicted latency the order is about.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Overwrite another model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fold gates that are constant on the images into the neighbouring layers, as far as accuracy allows.

    Writes a model directory for build and bench, and in it fold.json and fold.html: each block's loss, and accuracy against blocks kept.

    \b
    Examples:
      se-deploy fold engines/se_resnet50 --data imgs/train -o engines/folded
      se-deploy fold engines/se_resnet50 --data imgs/train -o engines/folded --max-drop 0.2 --target sm_89
    """
    from se_deploy.stages.fold import fold as stage

    with render.progress() as progress:
        made = stage(
            model, data=data, output=output, max_drop=max_drop, min_agreement=min_agreement, epsilon=epsilon, target=target,
            force=force, progress=progress,
        )  # fmt: skip
    render.stderr.print(_table(made.report))
    render.result(made, as_json)


def _table(report: FoldReport) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="SE blocks", title_justify="left", box=box.SIMPLE)
    for heading in ("block", "variation", "loss alone", f"saved on {report.target}, µs", "state", "factor"):
        table.add_column(heading, overflow="fold")
    for block in report.blocks:
        alone = "" if block.loss is None else f"{block.loss:.2g}"
        table.add_row(escape(block.name), f"{block.variation:.3f}", alone, f"{block.saved_us:.2f}", block.state, block.where or "")
    return table
