"""What stays in FP32 when a network becomes FP16, or FP16 around INT8: by its weights, and by what images or a scale file show."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from se_deploy import backends
from se_deploy.artifacts import Halved, KeptFp32, Precision, Progress, Scales, TensorScale
from se_deploy.backends import Backend
from se_deploy.errors import QuantError
from se_deploy.graph import spans, wide
from se_deploy.graph.half import raised
from se_deploy.graph.precision import candidates
from se_deploy.graph.read import read, write
from se_deploy.graph.spans import Span
from se_deploy.graph.view import View
from se_deploy.images import find_images
from se_deploy.quant import halves
from se_deploy.stages.steps import pictures, samples
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.inputs import image_input
from se_deploy.stages.steps.repaired import prepared
from se_deploy.stages.steps.strong_int8 import has_half_pairs
from se_deploy.verify.samples import Pictures

#: How many nodes that stay in FP32 are named on the terminal; the manifest names all.
NAMED = 5


@dataclass(frozen=True)
class Halving:
    """Whether there is anything in FP16 at all; the nodes that stay in FP32, how many images were looked at, and remarks."""

    applies: bool = False
    kept: tuple[KeptFp32, ...] = ()
    images: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of the nodes."""
        return frozenset(kept.name for kept in self.kept)

    def record(self, sqnr_db: float | None) -> Halved | None:
        """For the manifest; None where nothing was looked for or found."""
        return Halved(images=self.images, sqnr_db=sqnr_db, in_fp32=self.kept) if self.images is not None or self.kept else None


@dataclass(frozen=True)
class Given:
    """What a build has at hand: the model, images or a scale file or neither (INT8 has scales always), and where files may lie."""

    source: Exported
    engine: Backend
    precision: Precision
    pictures: Pictures | None
    scales: Scales | None
    folder: Path
    progress: Progress

    @property
    def int8(self) -> bool:
        """Whether FP16 is what surrounds INT8."""
        return self.precision == "int8"


def calibration(source: Exported, calib: str | Path, spared: Collection[Path] = ()) -> Pictures:
    """The images under `calib` without those that are spared for judging.

    Raises:
        ImageError: there is none, or their channels are not the network's.
        QuantError: the network takes something else than one batch of images.
    """

    def refused(takes: str) -> QuantError:
        return QuantError(f"the network's inputs ({takes}) are not one batch of images", "leave --calib out")

    manifest = source.manifest
    spec = image_input(manifest.inputs, manifest.preprocess, refused)
    images = find_images(Path(calib))
    return Pictures(images, [path for path in images.paths if path not in spared], None, spec, manifest.preprocess, workers=1)


def find(given: Given) -> Halving:
    """Chooses the nodes; with images, by running the network in FP32 over every one of them, one batch in memory at a time.

    Raises:
        ImageError: no image can be read, or one is of another size than the network takes.
        BackendError: ONNX Runtime does not take the model.
    """
    if given.precision == "fp32" or (given.int8 and not given.engine.strongly_typed):
        return Halving()
    model = read(given.source.model)
    if given.int8 and not has_half_pairs(model):
        return Halving()
    if given.int8 and given.scales is not None:
        model = prepared(model, given.scales)
    view = raised(model)
    tensors = given.scales.tensors if given.scales is not None else {}
    seen = _seen(view, given) if given.pictures is not None else {}
    bad = {} if seen else {name: reason for name, scale in tensors.items() if (reason := wide.by_peak(_peak(scale)))}
    layers = halves.layers(view.model) if given.int8 else {}
    kept = tuple(wide.find(view, seen, bad | (halves.tensors(tensors) if given.int8 else {}), layers))
    count = None if given.pictures is None else len(given.pictures) - len(given.pictures.images.skipped)
    return Halving(True, kept, count, tuple(_notes(view, given, kept)))


def _peak(scale: TensorScale) -> float:
    return max(abs(scale.min), abs(scale.max))


def _seen(view: View, given: Given) -> dict[str, Span]:
    """What every tensor that may be FP16 holds on the images."""
    assert given.pictures is not None
    names = spans.tensors(view, candidates(view))
    found: dict[str, Span] = {}
    if not names:  # an FP16 model, or nothing that may become FP16
        return found
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        file = Path(folder) / "watching.onnx"
        write(spans.watching(view, names), file)
        with backends.get("onnxruntime").open(file) as runner:
            total = len(given.pictures)
            for done, feeds in enumerate(pictures.feeds(given.pictures), start=1):
                for name, span in spans.read(names, runner.run(feeds)).items():
                    found[name] = found[name].merged(span) if name in found else span
                given.progress("look for what FP16 cannot hold", done, total)
    return found


def _notes(view: View, given: Given, kept: tuple[KeptFp32, ...]) -> Iterator[str]:
    if given.pictures is not None:
        yield from () if given.int8 else samples.skipped(given.pictures)
    elif given.scales is not None:
        halved = spans.tensors(view, candidates(view))
        known = sum(name in given.scales.tensors for name in halved)
        yield f"FP16: the scale file has the ranges of {known} of {len(halved)} tensors; --calib DIR looks at all of them"
    else:
        yield "FP16: activations were not looked at, only weights; --calib DIR finds those that overflow or lose their range"
    yield from (f"{one.name} ({one.op}) stays in FP32: {one.reason}" for one in kept[:NAMED])
    if len(kept) > NAMED:
        yield f"{len(kept) - NAMED} more node(s) stay in FP32; the engine's manifest names them"
