"""The `se-deploy` command: its commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer

from se_deploy import __version__
from se_deploy.cli import render
from se_deploy.cli.bench import bench
from se_deploy.cli.bisect import bisect
from se_deploy.cli.build import build
from se_deploy.cli.calibrate import calibrate
from se_deploy.cli.client import client
from se_deploy.cli.demo import demo
from se_deploy.cli.doctor import doctor
from se_deploy.cli.export import export
from se_deploy.cli.fold import fold
from se_deploy.cli.fuse import fuse
from se_deploy.cli.inspect import inspect
from se_deploy.cli.package import package
from se_deploy.cli.plugin import app as plugin
from se_deploy.cli.run import run
from se_deploy.errors import SeDeployError

INTERRUPTED = 130

app = typer.Typer(
    name="se-deploy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a trained Squeeze-and-Excitation network in PyTorch to a verified TensorRT deployment.",
)
for command in (export, inspect, fuse, fold, calibrate, build, bench, bisect, package, client, run, doctor, demo):
    app.command()(command)
app.add_typer(plugin, name="plugin")


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Options of se-deploy itself."""
    if show:
        print(__version__)
        raise typer.Exit


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a run as Ctrl-C does, so that whatever is half-written is removed."""
    raise KeyboardInterrupt


def main() -> None:
    """Runs the command line; exit codes are CLI.md's: 0 done, 1 user's error, 2 usage, 3 a check did not pass, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except SeDeployError as error:
        render.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
