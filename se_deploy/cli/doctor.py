"""`se-deploy doctor`: what is installed, what is missing, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se_deploy.cli import render

if TYPE_CHECKING:
    from se_deploy.stages.doctor import DoctorReport

STYLES = {"ok": "green", "missing": "yellow", "mismatch": "bold red"}


def doctor(
    engine: Annotated[Path | None, typer.Argument(help="Say whether this engine can run here.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed here, what each backend could do, and what is missing, with the one command that mends it.

    Exits 3 where ENGINE cannot run here.

    \b
    Examples:
      se-deploy doctor
      se-deploy doctor engine.plan
    """
    from se_deploy.stages.doctor import doctor as stage

    report = stage(engine)
    render.notes(report.notes)
    if as_json:
        render.record(report)
    else:
        _print(report)
    report.check()


def _print(report: DoctorReport) -> None:
    """A line for each check; as wide as it wants where the output is not a terminal."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False)
    for check in report.checks:
        remedy = f"mend it: {check.remedy}" if check.remedy else ""
        table.add_row(f"[{STYLES[check.status]}]{check.status}[/]", escape(check.name), escape(check.detail), escape(remedy))
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    console.print(table)
    if report.engine is not None and report.engine.runs:
        console.print(f"[green]ok[/] {escape(report.engine.engine)} runs here")
