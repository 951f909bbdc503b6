"""`inspect`: every SE block of an ONNX file, every near miss with its reason, parameters and multiply-adds; with images, its gates too."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pydantic import Field

from se_deploy import artifacts
from se_deploy.artifacts import ModelManifest, Precision, Progress, Report, silent
from se_deploy.errors import ArtifactError
from se_deploy.files import replacing, replacing_directory
from se_deploy.graph.cost import cost
from se_deploy.graph.find import find, match_report
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import read
from se_deploy.insight import page, tables
from se_deploy.insight.predict import CostReport
from se_deploy.insight.report import GateReport
from se_deploy.insight.summary import report as summary
from se_deploy.stages.steps import costs, exported, gates, pictures, said

__all__ = ["CostReport", "GateReport", "Inspection", "inspect", "onnx_file"]


class Inspection(Report):
    """`Report`, with what the gates did where images were given, and what blocks cost where a target was."""

    gates: GateReport | None = Field(default=None, exclude_if=lambda value: value is None)
    cost: CostReport | None = Field(default=None, exclude_if=lambda value: value is None)


def inspect(
    model: str | Path,
    *,
    data: str | Path | None = None,
    scales: str | Path | None = None,
    html: str | Path | None = None,
    csv: str | Path | None = None,
    target: str | None = None,
    precision: Precision = "fp16",
    batch: int = 1,
    progress: Progress = silent,
) -> Inspection:
    """Reports on a model, plain or fused; the model is not changed.

    Args:
        model: an .onnx file, or a model directory (its model.onnx is taken). With `data`, one that `export` made.
        data: a folder of images, of any number: each block's gates are reported, per class where its folders are classes.
        scales: a scale file of this model, for the share of `data` beyond its ranges; None takes what `calibrate` or `build` left.
        html: a file for the gates' report as a page.
        csv: a folder for it as CSV files.
        target: a device ("sm_90", "cpu", ...): what each block is predicted to cost there, fused and not.
        precision: of the maps, for `target`.
        batch: images at once, for `target`.
        progress: called after each batch of images.

    Raises:
        BackendError: no device is known for `target`.
        GraphError: the file is missing, is not an ONNX model, or has a graph that cannot be followed; with `data`: has no SE block.
        ArtifactError: with `data`: the model is not what its manifest describes; `html` or `csv` without `data`, or not to be written.
        ImageError: no usable image, or images that contradict the network's input.
        QuantError: `scales` are another model's.
    """
    if data is None and (html or csv or scales):
        raise ArtifactError("a page, CSV files and scales are about gates, and there are no images", "add --data DIR")
    path = onnx_file(model)
    graph = read(path)
    name_by_module(graph)
    found = find(graph)
    sizes = _sizes(path)
    counts = cost(graph, found, sizes)
    report = Inspection(
        blocks=tuple(match_report(match, block.macs) for match, block in zip(found.matches, counts.blocks, strict=True)),
        fused=sum(match.fused for match in found.matches),
        rejected=found.rejections,
        params=counts.params,
        se_params=sum(block.params for block in counts.blocks),
        se_weights=sum(block.weights for block in counts.blocks),
        macs=counts.macs,
        se_macs=sum(block.macs for block in counts.blocks),
        notes=counts.notes,
        cost=None if target is None else costs.predicted(graph, found, sizes, target, precision, batch),
    )
    return report if data is None else _with_gates(report, model, data, scales, html, csv, progress)


def _with_gates(
    report: Inspection,
    model: str | Path,
    data: str | Path,
    scales: str | Path | None,
    html: str | Path | None,
    csv: str | Path | None,
    progress: Progress,
) -> Inspection:
    source = exported.find(model)
    tried = pictures.pictures(source, data)
    blocks = gates.blocks_of(source)
    found = gates.scales_of(source, scales)
    if csv is not None and Path(csv).exists() and not Path(csv).is_dir():
        raise ArtifactError(f"{csv} is a file", "name a folder with --csv")
    with ExitStack() as stack:  # what cannot be written is said before the work, not after it
        beside = None if html is None else stack.enter_context(replacing(Path(html)))
        folder = None if csv is None else stack.enter_context(replacing_directory(Path(csv), manifest="blocks.csv"))
        watched, coverage = gates.observe(source, blocks, tried, found, progress)
        made = summary(watched, pictures.classes_of(tried.images), coverage)
        notes = tuple(said.remarks(made, tried))
        if beside is not None:
            beside.write_text(page.page(made, source.manifest.name, notes), encoding="utf-8")
        if folder is not None:
            tables.write(made, watched, folder)
    return report.model_copy(update={"gates": made, "notes": (*report.notes, *notes)})


def onnx_file(model: str | Path) -> Path:
    """The ONNX file that MODEL names: itself, or a model directory's model.onnx."""
    path = Path(model)
    return path / "model.onnx" if path.is_dir() else path


def _sizes(path: Path) -> dict[str, tuple[int, ...]]:
    """The input sizes that the export's manifest says a model is meant for; none where no manifest describes this file."""
    try:
        manifest = artifacts.read(ModelManifest, path.with_name("manifest.json"))
    except ArtifactError:
        return {}
    described = path.name in (manifest.model.file, manifest.plain.file)
    return {spec.name: spec.opt for spec in manifest.inputs} if described else {}
