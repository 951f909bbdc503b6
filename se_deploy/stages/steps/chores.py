"""The steps of a recipe, in order: what each reads, what it writes, and the stage that does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from se_deploy import backends
from se_deploy.artifacts import Precision, Progress
from se_deploy.errors import ArtifactError
from se_deploy.files import sha256, write_text
from se_deploy.stages.steps import ledger
from se_deploy.stages.steps.place import MANIFEST, Place
from se_deploy.stages.steps.recipe import Recipe, stage
from se_deploy.verify.report import BenchReport

#: Options that name what is written, not what is read.
_WRITTEN = frozenset({"html", "triton", "cpp"})
#: Options of `build` that are for INT8 alone; other cells of the matrix are built without them.
_BOUNDS = frozenset({"max_drop", "min_agreement", "data"})
SCALES, REPORT = "scales.json", "bench.json"


@dataclass(frozen=True)
class Chore:
    """One step.

    Attributes:
        name: `export`, `build onnxruntime-int8`, …
        after: names of the steps whose outputs it reads.
        inputs: the hash of all that goes in; what earlier steps write must be there.
        work: does it and gives remarks; told whether it may overwrite what is there.
        outputs: the files that it leaves.
    """

    name: str
    after: tuple[str, ...]
    inputs: Callable[[], str]
    work: Callable[[Progress, bool], tuple[str, ...]]
    outputs: Callable[[], list[Path]]


@dataclass(frozen=True)
class Cell:
    """An engine of the matrix; `precision` None is the backend's default."""

    backend: str
    precision: Precision | None
    path: Path
    name: str


@dataclass(frozen=True)
class Plan:
    """A recipe's steps and engines."""

    recipe: Recipe
    folder: Path
    cells: tuple[Cell, ...]
    chores: tuple[Chore, ...] = field(default=())

    @property
    def report_file(self) -> Path:
        """Where bench's report is kept."""
        return self.folder / REPORT

    def report(self) -> BenchReport | None:
        """The report of the last bench, with its remarks."""
        if self.recipe.bench is None or not self.report_file.is_file():
            return None
        return unpacked(self.report_file)


def plan(recipe: Recipe) -> Plan:
    """The plan of a recipe.

    Raises:
        ArtifactError: the package names an engine that is not in the matrix.
        BackendError: a backend does not exist.
    """
    words = recipe.export.words()
    folder = Path(recipe.model) if recipe.model else Place.of(str(words["source"]), None).folder
    empty = Plan(recipe, folder, tuple(_cells(recipe, folder)))
    return Plan(recipe, folder, empty.cells, tuple(_chores(empty)))


def _cells(recipe: Recipe, folder: Path) -> Iterator[Cell]:
    for name, precision in product(recipe.matrix.backends, recipe.matrix.precisions or (None,)):
        backend = backends.auto() if name == "auto" else backends.get(name)
        label = f"{backend.name}-{precision or backend.default_precision}"
        yield Cell(backend.name, precision, folder / f"{label}{backend.suffix}", label)


def _chores(found: Plan) -> Iterator[Chore]:
    recipe = found.recipe
    yield _export(found)
    if recipe.int8:
        yield _calibrate(found)
    yield from (_build(found, cell) for cell in found.cells)
    if recipe.bench is not None:
        yield _bench(found)
    if recipe.package is not None:
        yield _package(found)


def _export(found: Plan) -> Chore:
    words = found.recipe.export.words()

    def work(progress: Progress, force: bool) -> tuple[str, ...]:
        notes: tuple[str, ...] = stage("export")(**words, output=found.folder, force=force, progress=progress).notes
        return notes

    def outputs() -> list[Path]:
        return [path for path in sorted(found.folder.iterdir()) if path.name in _exported(found.folder)]

    return Chore("export", (), lambda: ledger.fingerprint("export", words, ledger.contents(words)), work, outputs)


def _exported(folder: Path) -> set[str]:
    """The files that an export's manifest names, and itself."""
    described = json.loads((folder / MANIFEST).read_bytes())
    refs = (described[key] for key in ("model", "plain", "weights", "reference"))
    return {MANIFEST, *(ref["file"] for ref in refs if ref is not None)}


def _calibrate(found: Plan) -> Chore:
    words, out = found.recipe.calibrate.words(), found.folder / SCALES

    def inputs() -> str:
        return ledger.fingerprint("calibrate", words, {**ledger.contents(words), "manifest": sha256(found.folder / MANIFEST)})

    def work(progress: Progress, _force: bool) -> tuple[str, ...]:
        notes: tuple[str, ...] = stage("calibrate")(found.folder, **words, output=out, progress=progress).notes
        return notes

    return Chore("calibrate", ("export",), inputs, work, lambda: [out])


def _build(found: Plan, cell: Cell) -> Chore:
    given = found.recipe.build.words() if found.recipe.build is not None else {}
    words = {name: value for name, value in given.items() if cell.precision == "int8" or name not in _BOUNDS}
    scales = found.folder / SCALES if cell.precision == "int8" else None
    more: dict[str, Any] = {} if cell.precision is None else {cell.precision: True}
    if scales is not None:
        more["scales"] = scales
    elif cell.precision == "fp16" and found.recipe.calibrate is not None:
        more["calib"] = found.recipe.calibrate.words()["calib"]

    def inputs() -> str:
        read = {**ledger.contents({**words, **more}), "manifest": sha256(found.folder / MANIFEST)}
        versions = backends.get(cell.backend).versions()
        return ledger.fingerprint(cell.name, {**words, **more, "versions": versions}, read)

    def work(progress: Progress, force: bool) -> tuple[str, ...]:
        build = stage("build")
        notes: tuple[str, ...] = build(
            found.folder, **words, **more, backend=cell.backend, output=cell.path, force=force, progress=progress
        ).notes
        return notes

    after = ("export", "calibrate") if scales is not None else ("export",)
    return Chore(f"build {cell.name}", after, inputs, work, lambda: _engine(cell))


def _engine(cell: Cell) -> list[Path]:
    """An engine and everything of its name beside it."""
    return sorted(path for path in cell.path.parent.iterdir() if path.name.startswith(f"{cell.path.name}") and path.is_file())


def _bench(found: Plan) -> Chore:
    words = found.recipe.bench.words()
    paths = [cell.path for cell in found.cells]
    page = [Path(words["html"])] if words.get("html") is not None else []

    def inputs() -> str:
        read = {**ledger.contents(words, _WRITTEN), **{str(path): sha256(path) for path in paths}}
        return ledger.fingerprint("bench", {**words, "batch": found.recipe.matrix.batches}, read)

    def work(progress: Progress, _force: bool) -> tuple[str, ...]:
        report: BenchReport = stage("bench")(paths, **words, batch=found.recipe.matrix.batches, progress=progress)
        pack(report, found.report_file)
        return report.notes

    after = tuple(f"build {cell.name}" for cell in found.cells)
    return Chore("bench", after, inputs, work, lambda: [found.report_file, *page])


def _package(found: Plan) -> Chore:
    words = dict(found.recipe.package.words())
    cell = _chosen(found.cells, words.pop("engine", None))

    def inputs() -> str:
        return ledger.fingerprint("package", words, {str(path): sha256(path) for path in _engine(cell)})

    def work(_progress: Progress, force: bool) -> tuple[str, ...]:
        notes: tuple[str, ...] = stage("package")(cell.path, **words, force=force).notes
        return notes

    return Chore("package", (f"build {cell.name}",), inputs, work, lambda: [Path(words[key]) for key in words if key in _WRITTEN])


def _chosen(cells: tuple[Cell, ...], name: str | None) -> Cell:
    """The engine to package."""
    known = ", ".join(cell.name for cell in cells)
    if name is None and len(cells) > 1:
        raise ArtifactError(f"the matrix has {len(cells)} engines, and `package` names none", f"add `engine:`, one of {known}")
    found = [cell for cell in cells if name in (None, cell.name)]
    if not found:
        raise ArtifactError(f"`package` names the engine {name}, which is not in the matrix", f"take one of {known}")
    return found[0]


def pack(report: BenchReport, path: Path) -> None:
    """Keeps a report, with the remarks that its JSON leaves out."""
    more: Mapping[str, Any] = {"threads": report.threads, "failures": report.failures, "notes": report.notes}
    write_text(path, json.dumps({**json.loads(report.model_dump_json()), **more}) + "\n")


def unpacked(path: Path) -> BenchReport:
    """A report that was kept.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        return BenchReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ArtifactError(f"{path} is no report of this version", "add --force to bench again") from error
