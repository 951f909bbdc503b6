"""`se-deploy run`: the stages in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se_deploy.cli import render, tables


def run(
    config: Annotated[Path, typer.Argument(help="A YAML file; the README has its schema.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Do every step again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export, calibrate, build, bench and package from one file; what has not changed is not done again.

    \b
    Examples:
      se-deploy run se_resnet50.yaml --dry-run
      se-deploy run se_resnet50.yaml
    """
    from se_deploy.stages.run import run as stage

    with render.progress() as progress:
        done = stage(config, dry_run=dry_run, force=force, progress=progress)
    render.notes(done.notes)
    if as_json:
        render.record(done)
    else:
        tables.steps(done)
    if done.bench is not None:
        done.bench.check()
