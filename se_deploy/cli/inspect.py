"""`se-deploy inspect`: every SE block of an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from se_deploy.artifacts import Block, Report
    from se_deploy.stages.inspect import CostReport, GateReport, Inspection


#: Class-specific channels that are shown; --json has more.
SHOWN = 5


def inspect(
    model: Annotated[Path, typer.Argument(help="An .onnx file, or a model directory.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option("--data", help="A folder of images (sub-folders are classes): what each gate does on them.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the gates' report as one HTML file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the gates' report as CSV files into this folder.")] = None,
    scales: Annotated[Path | None, typer.Option("--scales", help="A scale file: what share of --data lies beyond its ranges.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="sm_75 … sm_120 or cpu: what each block is predicted to cost there.")
    ] = None,
    precision: Annotated[Literal["fp32", "fp16", "int8"], typer.Option("--precision", help="Of the maps, for --target.")] = "fp16",
    batch: Annotated[int, typer.Option("--batch", min=1, max=65536, help="Images at once, for --target.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every SE block, every near miss with its reason, parameters and multiply-adds (MACs); with --data, its gates.

    \b
    Examples:
      se-deploy inspect resnet.onnx
      se-deploy inspect engines/se_resnet50 --json
      se-deploy inspect engines/se_resnet50 --data imgs/test --html gates.html
      se-deploy inspect engines/se_resnet50 --target sm_90 --batch 8
    """
    from se_deploy.stages.inspect import inspect as stage

    with render.progress() as progress:
        report = stage(
            model, data=data, scales=scales, html=html, csv=csv, target=target, precision=precision, batch=batch, progress=progress
        )
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        _print(report)


def _print(report: Inspection) -> None:
    """Tables and totals; as wide as they want where the output is not a terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if report.blocks:
        console.print(_blocks(report))
    if report.rejected:
        console.print(_rejected(report))
    for line in _totals(report):
        console.print(line, markup=False)
    if report.cost is not None:
        _print_cost(console, report.cost)
    if report.gates is not None:
        console.print(_gates(report.gates))
        if report.gates.ranking:
            console.print(_ranking(report.gates))


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


def _gates(gates: GateReport) -> Table:
    numbers = ("mean", "spread", "5 %", "median", "95 %", "variation", "specificity", "saturated", "dead", "constant")
    table = _table(f"gates on {gates.images} images, {len(gates.classes)} classes", "block", *numbers, numbers=numbers)
    for block in gates.blocks:
        shares = (block.quantiles[1], block.quantiles[3], block.quantiles[5])
        figures = (f"{value:.3f}" for value in (block.mean, block.std, *shares, block.variation))
        specific = "" if block.specificity is None else f"{100 * block.specificity:.1f} %"
        counts = (str(len(channels)) for channels in (block.saturated, block.dead, block.constant))
        table.add_row(_escaped(block.name), *figures, specific, *counts)
    return table


def _print_cost(console: Console, cost: CostReport) -> None:
    """The prediction, and how it comes about."""
    numbers = ("bytes unfused", "bytes fused", "operations", "launches", "µs unfused", "µs fused", "% unfused", "% fused")
    title = f"predicted on {cost.target} ({cost.device}), {cost.precision}, batch {cost.batch}; not measured"
    table = _table(title, "block", *numbers, "road", "fuse", "why", numbers=numbers)
    for block in cost.blocks:
        old, new = block.unfused, block.fused
        table.add_row(
            _escaped(block.name), f"{old.bytes:,}", f"{new.bytes:,}", f"{new.operations:,}", f"{old.launches} → {new.launches}",
            f"{old.us:.2f}", f"{new.us:.2f}", f"{block.share_unfused:.2f}", f"{block.share_fused:.2f}",
            block.road or "–", "yes" if block.fuse else "no", _escaped(block.why),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"latency     {cost.network_us:.1f} µs without SE; SE {cost.unfused_us:.1f} µs unfused ({cost.share_unfused:.1f} %), "
        f"{cost.fused_us:.1f} µs fused ({cost.share_fused:.1f} %), {cost.launches_saved} launches saved\nsource      {cost.source}",
        markup=False,
    )


def _ranking(gates: GateReport) -> Table:
    table = _table(
        "most class-specific channels", "block", "channel", "specificity", "highest", "lowest", numbers=("channel", "specificity")
    )
    for row in gates.ranking[:SHOWN]:
        table.add_row(_escaped(row.block), str(row.channel), f"{100 * row.specificity:.1f} %", _escaped(row.highest), _escaped(row.lowest))
    return table


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
