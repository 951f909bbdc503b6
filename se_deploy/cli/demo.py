"""`se-deploy demo`: the whole main line on a network and images that come with it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from se_deploy.cli import render


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where images, checkpoint and engines go.")] = Path("engines/demo"),
) -> None:
    """Train a small SE-ResNet on real digits, then export, build in INT8 and bench it: about a minute on 2 cores.

    \b
    Examples:
      se-deploy demo
      se-deploy demo -o /tmp/demo
    """
    from se_deploy.stages.demo import prepare

    with render.progress() as progress:
        checkpoint = prepare(output, progress=progress)
    images = output / "imgs"
    _run("export", checkpoint, "-o", output, "--force")
    _run("build", output, "--int8", "--calib", images / "calib", "--force")
    report = json.loads(_run("bench", output / "engine.onnx", "--data", images / "test", "--json"))
    manifest = json.loads((output / "engine.onnx.json").read_text())
    _table(report, manifest, checkpoint)


def _run(command: str, *arguments: str | Path) -> str:
    """Shows a command and runs it as a user would; its own progress and remarks go to the same stderr."""
    words = [command, *map(str, arguments)]
    render.stderr.print(f"\n[bold]$ se-deploy {shlex.join(words)}[/]")
    done = subprocess.run([sys.executable, "-m", "se_deploy", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
    if "--json" not in words:
        print(done.stdout, end="", flush=True)
    return done.stdout


def _table(report: dict[str, Any], manifest: dict[str, Any], checkpoint: Path) -> None:
    """The reference and the engine, a row each."""
    from rich.console import Console
    from rich.table import Table

    run = report["runs"][0]
    accuracy = run["accuracy"]
    table = Table(title=f"{manifest['source']['arch']} on {accuracy['images']} test digits, batch {run['batch']}, {run['device']}")
    for heading in ("model", "size", "top-1 [95 %]", "agreement with PyTorch [95 %]", "p50 / p99", "SE blocks fused"):
        table.add_column(heading)
    table.add_row(
        "PyTorch fp32",
        _megabytes(checkpoint.stat().st_size),
        _share(accuracy["top1_reference"]),
        "",
        _latency(report["reference"]["latency_ms"]),
        "",
    )
    table.add_row(
        f"{run['backend']} {run['precision']}",
        _megabytes(run["size_bytes"]),
        _share(accuracy["top1"]),
        _share(accuracy["agreement"]),
        _latency(run["latency_ms"]),
        str(manifest["se_blocks"]),
    )
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _share(value: dict[str, float]) -> str:
    return f"{value['value']:.2f} % [{value['low']:.2f}, {value['high']:.2f}]"


def _latency(value: dict[str, float]) -> str:
    return f"{value['p50']:.2f} / {value['p99']:.2f} ms"
