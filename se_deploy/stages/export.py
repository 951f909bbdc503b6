"""`export`: a network to a directory with its fused graph, its plain one, and what PyTorch answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from se_deploy import __version__, artifacts, backends
from se_deploy.artifacts import FileRef, ModelManifest, Progress, Result, peak_rss_mb, silent
from se_deploy.errors import ExportError
from se_deploy.files import replacing_directory
from se_deploy.graph import ports
from se_deploy.graph.find import Found, find
from se_deploy.graph.fuse import fuse as fused
from se_deploy.graph.pairs import PAIRS
from se_deploy.graph.read import write
from se_deploy.insight.devices import device
from se_deploy.networks.exporting import Exporter
from se_deploy.networks.preprocessing import Side, Wish
from se_deploy.stages.steps import costs, from_network, from_onnx
from se_deploy.stages.steps.options import Options, labels_in, parse_input
from se_deploy.stages.steps.place import MANIFEST, MODEL, PLAIN, REFERENCE, WEIGHTS, Place
from se_deploy.stages.steps.plain import Batch, Plain, Step, Tensors, ask, compare, nudged_by_int8
from se_deploy.verify.equal import FUSED, Ranges

#: The device that `--fuse auto` is about where none is named: both TensorRT and TensorRT-RTX build for it.
TARGET = "sm_89"


def export(
    source: str | Path,
    *,
    output: str | Path | None = None,
    arch: str | None = None,
    num_classes: int | None = None,
    trust: bool = False,
    random: bool = False,
    input: str | None = None,
    opset: int | None = None,
    exporter: Literal["auto"] | Exporter = "auto",
    batch: Literal["dynamic"] | int | None = None,
    spatial: Literal["fixed", "dynamic"] | None = None,
    fuse: Literal["all", "auto", "none"] = "all",
    target: str | None = None,
    labels: str | Path | None = None,
    preprocess: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: Side | None = None,
    crop: Side | None = None,
    interpolation: str | None = None,
    color: str | None = None,
    scale: float | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Result:
    """Exports a network and proves that its graph gives PyTorch's answers; writes a model directory, whole or not at all.

    The directory holds model.onnx (SE blocks fused), plain.onnx, weights.safetensors (where the architecture is known), reference.npz
    (probes and what PyTorch answers to them; for an .onnx source, what the graph itself answers) and manifest.json.

    Args:
        source: a checkpoint, a program, `timm:NAME`, `torchvision:NAME` or an .onnx file.
        output: the directory; default engines/<stem of the source>.
        arch: the architecture of a state_dict whose keys do not tell it.
        num_classes: what it must have; with `random`, what it gets.
        trust: run the code in a pickled module or a program.
        random: seeded random weights instead of a library's published ones.
        input: `NAME=1x3x224x224`: the graph's input, and the size in place of the network's own.
        opset: what the file must have; default 20, for an .onnx file its own, which can be raised.
        exporter: "dynamo" or "torchscript"; "auto" tries them in this order.
        batch: "dynamic", or a number to fix it at; None is dynamic where that works and 1 elsewhere, which is said.
        spatial: whether height and width are "fixed" (the default, but for an .onnx file, which says itself) or "dynamic".
        fuse: "all" SE blocks, or "none"; "auto" leaves those alone of which the cost model says that fusing loses, and says which and why.
        target: the device that "auto" is about, such as "sm_90"; default sm_89. In FP16, at the batch the engine is tuned for.
        labels: a file of class names, one a line or a JSON list.
        preprocess: a preset's name or a .json file, instead of what the checkpoint or the architecture says.
        mean: and the rest: single fields, which win over everything else.
        std: see `artifacts.Preprocess`, as for the others.
        resize: pixels, short side or (height, width).
        crop: pixels, square or (height, width).
        interpolation: Pillow's name of it, in lower case.
        color: "RGB", "BGR" or "L".
        scale: what a pixel is multiplied with first.
        force: overwrite the export of another source.
        progress: called at each step.

    Raises:
        LoadError: the source cannot be loaded.
        GraphError: an .onnx source cannot be read, or takes something else than images.
        ImageError: preprocessing that contradicts the network.
        ExportError: no exporter gives a graph that equals PyTorch, or options contradict each other or the source.
        ArtifactError: the directory holds something else, or cannot be written.
    """
    started = time.perf_counter()
    name, size = (None, None) if input is None else parse_input(input, batch)
    asked = Options(
        arch=arch,
        num_classes=num_classes,
        trust=trust,
        random=random,
        name=name,
        size=size,
        opset=opset,
        exporter=exporter,
        batch=batch,
        spatial=spatial,
        labels=labels_in(labels),
        wish=Wish(preprocess, resize, crop, interpolation, color, scale, mean, std),
    )
    if target is not None and fuse != "auto":
        raise ExportError(f"a target ({target}) is for --fuse auto alone", "add it, or leave --target out")
    chosen = _Fuse(fuse, device(target or TARGET).target)
    place = Place.of(str(source), output)
    place.check(force)
    written = _write(place, asked, chosen, force, progress)
    return Result(
        output=place.folder,
        manifest=place.folder / MANIFEST,
        se_blocks=written.blocks,
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=written.notes,
    )


@dataclass(frozen=True)
class _Fuse:
    """Which blocks: "all", "none", or "auto" for a target."""

    how: str
    target: str


@dataclass(frozen=True)
class _Written:
    blocks: int
    notes: tuple[str, ...]


def _write(place: Place, asked: Options, fuse: _Fuse, force: bool, progress: Progress) -> _Written:
    """Everything in the directory."""
    if place.kind == "onnx":
        graph = from_onnx.prepare(place, asked, progress)
        with replacing_directory(place.folder) as folder:
            return _finish(place, folder, from_onnx.trace(graph, folder, force), fuse, progress)
    job = from_network.prepare(place, asked, progress)
    with replacing_directory(place.folder) as folder:
        return _finish(place, folder, from_network.trace(job, folder, force), fuse, progress)


def _finish(place: Place, folder: Path, plain: Plain, fuse: _Fuse, progress: Progress) -> _Written:
    """The fused graph, the reference and the manifest beside the plain graph."""
    blocks, notes = _fused(place, folder, plain, fuse, progress)
    value = ports.image_input(plain.model)
    rows = {f"output.{name}": values for name, values in plain.questions.rows.items()}
    progress("write the manifest", 0, None)
    np.savez(folder / REFERENCE, allow_pickle=False, **{f"input.{value.name}": plain.questions.probes}, **rows)
    artifacts.write(_manifest(place, folder, plain, blocks), folder / MANIFEST)
    return _Written(blocks, (*plain.notes, *notes))


def _fused(place: Place, folder: Path, plain: Plain, fuse: _Fuse, progress: Progress) -> tuple[int, tuple[str, ...]]:
    """Writes model.onnx.

    Returns:
        How many SE blocks are fused in it, and notes.

    Raises:
        ExportError: it does not give the plain graph's answers.
    """
    progress("find SE blocks", 0, None)
    only, left = ((), ()) if fuse.how == "none" else _worth(plain, fuse.target) if fuse.how == "auto" else (None, ())
    result = fused(plain.model, only=only)
    write(result.model, folder / MODEL)
    notes = [*left, *(_compared(folder, plain, progress, _step(result.found)) if result.fused else ())]
    if not result.found.matches:
        notes.append("no SE block was found: nothing is fused")
    if result.found.rejections:
        count = len(result.found.rejections)
        notes.append(f"{count} near miss{'es' if count > 1 else ''}: `se-deploy inspect {place.folder / MODEL}` says why")
    return len(result.fused), tuple(notes)


def _worth(plain: Plain, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the blocks that are worth fusing on a target, and what is said of the others."""
    found, spec = find(plain.model), ports.input_spec(plain.model, *plain.sides)
    cost = costs.predicted(plain.model, found, {spec.name: spec.opt}, target, "fp16", spec.opt[0])
    on = f"{target} ({cost.device}), FP16, batch {cost.batch}"
    left = tuple(
        f"{b.name} is left unfused: on {on}, {b.unfused.us:.2f} µs against {b.fused.us:.2f}: {b.why}" for b in cost.blocks if not b.fuse
    )
    fused_names = tuple(block.name for block in cost.blocks if block.fuse)
    return fused_names, (*left, f"--fuse auto: {len(fused_names)} of {len(cost.blocks)} blocks are fused for {on}, by prediction")


def _step(found: Found) -> Step | None:
    """A quantized block is fused without the roundings inside it: the answers may move as by a step of INT8."""
    quantized = any(node.op in PAIRS for match in found.matches for node in match.nodes)
    return Step(nudged_by_int8, 0.25, "one step of INT8 in its input moves it") if quantized else None


def _compared(folder: Path, plain: Plain, progress: Progress, step: Step | None) -> tuple[str, ...]:
    """Holds the fused graph against the plain one."""
    what, name = "compare fused with plain", ports.image_input(plain.model).name
    batches, wanted = plain.some()

    def again(images: Batch) -> Tensors:
        return ask(folder / PLAIN, name, [images], what, progress)[0]

    try:
        answers = ask(folder / MODEL, name, batches, what, progress)
        return (*compare("fused beside plain", batches, answers, wanted, FUSED, again, step), *_faint(wanted))
    except ExportError as error:
        raise ExportError(f"the fused graph is not the plain one: {error.message}", "add --fuse none, and report this") from error


def _faint(wanted: Sequence[Tensors]) -> tuple[str, ...]:
    """Says where equal answers prove little."""
    names = ", ".join(Ranges.of(wanted).faint)
    return (f"the probes hardly move {names}, so that equal answers prove little: bench with --data",) if names else ()


def _manifest(place: Place, folder: Path, plain: Plain, blocks: int) -> ModelManifest:
    opset = next(entry.version for entry in plain.model.opset_import if entry.domain in ("", "ai.onnx"))
    return ModelManifest(
        name=place.name,
        source=plain.source,
        model=FileRef.of(folder / MODEL),
        plain=FileRef.of(folder / PLAIN),
        weights=FileRef.of(folder / WEIGHTS) if plain.weights else None,
        reference=FileRef.of(folder / REFERENCE),
        exporter=plain.exporter,
        opset=opset,
        versions=_versions(plain),
        inputs=(ports.input_spec(plain.model, *plain.sides),),
        outputs=ports.output_specs(plain.model),
        preprocess=plain.preprocess,
        labels=plain.labels,
        se_blocks=blocks,
    )


def _versions(plain: Plain) -> dict[str, str]:
    """Of the packages that had a part in it."""
    packages = ("onnx",) if plain.exporter == "onnx" else ("onnx", "torch", "torchvision", "timm", "onnxscript")
    return {"se-deploy": __version__, **{name: version(name) for name in packages}, **backends.get("onnxruntime").versions()}
