"""`fold`: gates that are constant on a user's images go into the neighbouring layers, as far as accuracy allows."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

from onnx import ModelProto
from pydantic import Field

from se_deploy import artifacts
from se_deploy.artifacts import FileRef, Progress, Result, peak_rss_mb, silent
from se_deploy.errors import ArtifactError
from se_deploy.files import copy_file, replacing_directory
from se_deploy.graph.read import write
from se_deploy.graph.unfuse import unfuse
from se_deploy.insight import page
from se_deploy.insight.devices import device
from se_deploy.insight.folding import Bound, FoldReport
from se_deploy.stages.steps import exported, folding
from se_deploy.stages.steps.exported import Exported

__all__ = ["FoldReport", "FoldResult", "fold"]

REPORT, PAGE = "fold.json", "fold.html"
#: A gate whose standard deviation over images (root mean square over channels) is above this varies.
EPSILON = 0.1

_NO_NETWORK = "there is no PyTorch network to compare with: bench will take the folded plain.onnx for the reference"


class FoldResult(Result):
    """`Result`, with what was folded and what it cost."""

    report: FoldReport = Field(exclude=True)


def fold(
    model: str | Path,
    *,
    data: str | Path,
    output: str | Path,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    epsilon: float = EPSILON,
    target: str = "cpu",
    force: bool = False,
    progress: Progress = silent,
) -> FoldResult:
    """Folds gates that are constant on the images; writes a model directory on which every later step works, and fold.json.

    Half of the images (every second one, so of each class) says what the gates are and in which order blocks are tried; the other half
    judges each step. Neither should be the test images.

    Args:
        model: a model directory or its model.onnx.
        data: a folder of images; with class folders named as the network's classes, top-1 is judged.
        output: the new model directory.
        max_drop: percentage points of top-1 that folding may cost. Without either bound: 0.5, or an agreement of 99 % without classes.
        min_agreement: percent of images whose best class must stay.
        epsilon: a gate whose standard deviation over images (root mean square over channels) is above this varies, and is not folded.
        target: the device whose predicted latency the order is about: "cpu", "sm_89", ...
        force: overwrite another model in `output`.
        progress: called after each batch of images.

    Raises:
        ArtifactError: there is no such model, or `output` is taken or cannot be written.
        GraphError: it has no SE block in floating point.
        ImageError: no usable image, or images that contradict the network.
        FoldError: every gate varies, or the images or the network cannot judge.
        CheckFailed: no block can be folded within the bound.
        BackendError: no device is known for `target`.
    """
    started = time.perf_counter()
    source, out = exported.find(model), Path(output)
    _check(source, out, force)
    job = folding.prepare(source, data, Bound(max_drop, min_agreement), epsilon, device(target).target, progress)
    with replacing_directory(out) as folder:
        made, report, notes = folding.folded(job)
        _write(source, made, report, out, folder)
    return FoldResult(
        output=out,
        manifest=out / "manifest.json",
        se_blocks=int(report.se_blocks.after),
        images=report.images_choosing + report.score.images,
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=(*source.notes, *job.notes, *notes, *(() if source.manifest.weights else (_NO_NETWORK,))),
        report=report,
    )


def _check(source: Exported, out: Path, force: bool) -> None:
    if out.resolve() == source.folder.resolve():
        raise ArtifactError(f"folding would overwrite its own source {source.folder}", "choose another place with -o")
    if out.exists() and not out.is_dir():
        raise ArtifactError(f"{out} is a file", "name a folder with -o")
    if not force and any((out / name).exists() for name in ("manifest.json", "model.onnx", "plain.onnx")):
        raise ArtifactError(f"{out} holds a model already", "add --force, or choose another place with -o")


def _write(source: Exported, model: ModelProto, report: FoldReport, out: Path, folder: Path) -> None:
    """The model directory: its reference is still the network that was exported."""
    old = source.manifest
    write(model, folder / "model.onnx")
    write(unfuse(model), folder / "plain.onnx")
    for kept in (old.weights, old.reference):
        if kept is not None:
            copy_file(source.folder / kept.file, folder / kept.file)
    (folder / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page.folding(report, out.resolve().name), encoding="utf-8")
    manifest = old.model_copy(
        update={
            "name": out.resolve().name,
            "model": FileRef.of(folder / "model.onnx"),
            "plain": FileRef.of(folder / "plain.onnx"),
            "se_blocks": int(report.se_blocks.after),
            "versions": {**old.versions, "onnx": version("onnx")},
        }
    )
    artifacts.write(manifest, folder / "manifest.json")
