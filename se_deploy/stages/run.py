"""`run`: export, calibrate, build, bench and package from one file; what has not changed is not done again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from se_deploy.artifacts import Progress, Record, silent
from se_deploy.stages.bench import BenchReport
from se_deploy.stages.steps.chores import Chore, Plan, plan
from se_deploy.stages.steps.ledger import Ledger
from se_deploy.stages.steps.recipe import read

__all__ = ["RunReport", "Step", "run"]

Status = Literal["done", "unchanged", "run", "after"]


class Step(Record):
    """A step: `done` now, `unchanged` since the last time, or (dry run) to `run`, or known only `after` an earlier one; `why` in words."""

    name: str
    status: Status
    why: str
    seconds: float | None
    outputs: tuple[str, ...]


class RunReport(Record):
    """What `run` returns: `bench` is the report of every engine of the matrix, None where there is none (yet)."""

    model: str
    steps: tuple[Step, ...]
    bench: BenchReport | None
    passed: bool
    #: Remarks a user should read; printed on stderr, not part of the JSON.
    notes: tuple[str, ...] = Field(default=(), exclude=True)


def run(config: str | Path, *, dry_run: bool = False, force: bool = False, progress: Progress = silent) -> RunReport:
    """Does what a YAML file says: a section for each stage, with the words of that stage's function.

    A step is skipped where the hash of its options and of every file that it reads is that of the last time, and what it wrote is still
    as it was; DIR/run.json keeps the hashes. Paths are relative to the working directory, as on the command line. Where the
    bench does not pass, nothing is packaged.

    Args:
        config: the file; the README has its schema.
        dry_run: say what would be done, and do nothing.
        force: do every step again.
        progress: called as the stages do.

    Raises:
        ArtifactError: the file is wrong; names the line.
        SeDeployError: what a stage raises.
    """
    found = plan(read(Path(config)))
    book = Ledger(found.folder)
    return _dry(found, book, force) if dry_run else _done(found, book, force, progress)


def _dry(found: Plan, book: Ledger, force: bool) -> RunReport:
    """The plan; a step behind one that is to be done is known only then."""
    steps: list[Step] = []
    moving: set[str] = set()
    for chore in found.chores:
        before = [name for name in chore.after if name in moving]
        if before and not force:
            step = _step(chore, "after", f"known after {before[0]}")
        else:
            why = "--force" if force else book.why(chore.name, chore.inputs())
            step = _step(chore, "unchanged" if why is None else "run", why or "same inputs, same outputs")
        if step.status != "unchanged":
            moving.add(chore.name)
        steps.append(step)
    return RunReport(model=str(found.folder), steps=tuple(steps), bench=None, passed=True)


def _done(found: Plan, book: Ledger, force: bool, progress: Progress) -> RunReport:
    steps: list[Step] = []
    notes: list[str] = []
    passed = True
    for chore in found.chores:
        if chore.name == "package" and not passed:
            notes.append("nothing was packaged, for the bench did not pass")
            continue
        inputs = chore.inputs()
        why = "--force" if force else book.why(chore.name, inputs)
        started = time.perf_counter()
        if why is not None:
            # What a run made it may make again; what lies there from elsewhere it leaves alone unless forced.
            notes += chore.work(progress, force or chore.name in book.entries)
            book.note(chore.name, inputs, chore.outputs())
        seconds = None if why is None else time.perf_counter() - started
        steps.append(_step(chore, "unchanged" if why is None else "done", why or "same inputs, same outputs", seconds, chore.outputs()))
        report = found.report() if chore.name == "bench" else None
        passed = passed and (report is None or report.passed)
    return RunReport(model=str(found.folder), steps=tuple(steps), bench=found.report(), passed=passed, notes=tuple(notes))


def _step(chore: Chore, status: Status, why: str, seconds: float | None = None, outputs: Sequence[Path] = ()) -> Step:
    return Step(name=chore.name, status=status, why=why, seconds=seconds, outputs=tuple(map(str, outputs)))
