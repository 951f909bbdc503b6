"""`se-deploy inspect`: every SE block of an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from se_deploy.artifacts import Block, Report


def inspect(
    model: Annotated[Path, typer.Argument(help="An .onnx file, or a model directory.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every SE block, every near miss with its reason, parameters and multiply-adds (MACs).

    \b
    Examples:
      se-deploy inspect resnet.onnx
      se-deploy inspect engines/se_resnet50 --json
    """
    from se_deploy.stages.inspect import inspect as stage

    report = stage(model)
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        _print(report)


def _print(report: Report) -> None:
    """Tables and totals; as wide as they want where the output is not a terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if report.blocks:
        console.print(_blocks(report))
    if report.rejected:
        console.print(_rejected(report))
    for line in _totals(report):
        console.print(line, markup=False)


def _table(title: str, *headings: str, numbers: tuple[str, ...] = ()) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in numbers else "left")
    return table


def _blocks(report: Report) -> Table:
    numbers = ("C", "R", "params", "MACs")
    table = _table("SE blocks", "block", "pooled", "C", "R", "activation", "gate", "skip", "epilogue", "params", "MACs", numbers=numbers)
    for block in report.blocks:
        sizes = (str(block.channels), str(block.reduced))
        counts = (f"{block.params:,}", f"{block.macs:,}")
        row = (block.name, block.pooled, *sizes, block.activation, _gate(block), block.skip, block.epilogue, *counts)
        table.add_row(*map(_escaped, row))
    return table


def _gate(block: Block) -> str:
    """The gate, with alpha and beta where it has them."""
    return block.gate if block.alpha is None else f"{block.gate} {block.alpha:.3g}, {block.beta:.3g}"


def _rejected(report: Report) -> Table:
    table = _table("near misses, left alone", "node", "id", "reason")
    for rejection in report.rejected:
        table.add_row(*map(_escaped, (rejection.node, rejection.id, rejection.reason)))
    return table


def _escaped(cell: str) -> str:
    from rich.markup import escape

    return escape(cell)


def _totals(report: Report) -> tuple[str, ...]:
    count, params, macs = len(report.blocks), max(report.params, 1), max(report.macs, 1)
    return (
        f"SE blocks   {count}, {report.fused} of them fused; near misses: {len(report.rejected)}",
        f"parameters  {report.params:,}, in SE blocks {report.se_params:,} ({100 * report.se_params / params:.2f} %), "
        f"without biases {report.se_weights:,}",
        f"MACs        {report.macs:,}, in SE blocks {report.se_macs:,} ({100 * report.se_macs / macs:.2f} %), per image",
    )
