"""What the commands share in drawing: progress and remarks on stderr, results on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from se_deploy.errors import SeDeployError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.progress import TaskID

    from se_deploy.artifacts import Progress, Result

#: Width is free where the output is not a terminal, so that lines in a log or a pipe are not folded.
stderr = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def error(problem: SeDeployError) -> None:
    """One line: `error: what, where, what to do`."""
    line = " ".join(str(problem).split())
    stderr.print(f"[bold red]error:[/] {escape(line)}")


def notes(remarks: Iterable[str]) -> None:
    """Remarks of a stage, a line each; what holds for several engines is said once."""
    for remark in dict.fromkeys(remarks):
        stderr.print(f"[yellow]note:[/] {escape(remark)}")


def result(made: Result, as_json: bool) -> None:
    """What a command that makes something prints: its path, or exactly one JSON object; its remarks on stderr."""
    notes(made.notes)
    print(made.model_dump_json() if as_json else made.output)


def record(value: BaseModel | dict[str, object]) -> None:
    """A report as one JSON object on stdout."""
    print(json.dumps(value) if isinstance(value, dict) else value.model_dump_json())


@contextmanager
def progress() -> Iterator[Progress]:
    """A stage's progress callback that draws a bar with an ETA on a terminal, and a line per step of the work elsewhere."""
    if not stderr.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, TimeRemainingColumn(), TextColumn("left"), console=stderr, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def draw(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                bars.refresh()  # where the step before ended
                for other in tasks.values():
                    bars.update(other, visible=False)
                tasks[what] = bars.add_task(escape(what), total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield draw


def _lines() -> Progress:
    seen: set[str] = set()

    def say(what: str, _done: int, _total: int | None) -> None:
        if what not in seen:
            seen.add(what)
            stderr.print(f"[dim]{escape(what)} …[/]")

    return say
