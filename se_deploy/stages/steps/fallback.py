"""INT8 by accuracy: as few layers and SE blocks as possible go back to float until a bound holds on images that calibration never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import FellBack, Judged, Progress, Scales
from se_deploy.backends import Backend
from se_deploy.errors import CheckFailed
from se_deploy.graph.read import read, write
from se_deploy.insight.folding import Score
from se_deploy.quant import sensitivity, sites
from se_deploy.quant.place import place
from se_deploy.quant.sensitivity import Unit, sqnr_db
from se_deploy.stages.steps import pictures, samples
from se_deploy.stages.steps.apart import Apart
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.folding import said
from se_deploy.stages.steps.judging import Judge
from se_deploy.stages.steps.repaired import divided, prepared, shifted
from se_deploy.stages.steps.typed import with_types
from se_deploy.verify.samples import Chunk, Pictures

#: Bytes of prepared images that are kept between passes; more are read again.
KEPT = 1 << 28


@dataclass(frozen=True)
class Chosen:
    """What falls back, with the figures on the images kept apart; remarks."""

    accuracy: Judged
    notes: tuple[str, ...]


@dataclass
class Job:
    """An INT8 build: its scales, whose rules hold, where trial files may lie, the images that judge, and the nodes that are FP32 where
    others are FP16."""

    source: Exported
    engine: Backend
    plugin: bool
    scales: Scales
    apart: Apart
    folder: Path
    progress: Progress
    wide: Collection[str] = ()
    _kept: dict[int, list[Chunk]] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether SqueezeExcite nodes read and give int8 themselves."""
        return self.engine.strongly_typed and self.plugin

    def scores(self, model: Path, tried: Pictures) -> NDArray[np.float32]:
        """What ONNX Runtime answers with a file, (images, classes). For TensorRT's files too: the bodies of SqueezeExcite run there."""
        if id(tried) not in self._kept and _small(tried):
            self._kept[id(tried)] = list(tried.chunks(pictures.batch_of(tried)))
        with backends.get("onnxruntime").open(model) as runner:
            answers = pictures.answers(runner, tried, chunks=self._kept.get(id(tried)))
            return np.concatenate([pictures.rows(answer[self.apart.output]) for _, answer in answers])

    def tried(self, model: ModelProto, images: Pictures) -> NDArray[np.float32]:
        """The same with a model in memory."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            file = Path(folder) / "model.onnx"
            write(model, file)
            return self.scores(file, images)


def _small(tried: Pictures) -> bool:
    size = [s for s in tried.spec.shape[1:] if isinstance(s, int)]
    return len(size) == 3 and len(tried) * int(np.prod(size)) * 4 <= KEPT


def choose(job: Job) -> Chosen:
    """Measures sensitivity only where INT8 as a whole breaks the bound; judges the very file that the engine is built from.

    Raises:
        CheckFailed: the bound does not hold even with one layer alone in INT8.
    """
    bound, wanted = job.apart.bound, job.scores(job.source.model, job.apart.judging)
    judge = Judge(wanted.argmax(1), _labels(job))
    tries: dict[frozenset[str], tuple[Score, float]] = {}

    def holds(floats: frozenset[str]) -> bool:
        job.progress("judge INT8 on images kept apart", len(tries), None)
        got = job.tried(_int8(job, floats), job.apart.judging)
        tries[floats] = judge.score(got), sqnr_db(wanted, got)
        return bool(np.isfinite(got).all()) and bound.holds(tries[floats][0])

    ranked: list[tuple[Unit, float]] = []
    chosen: frozenset[str] | None = frozenset()
    if not holds(frozenset()):
        ranked = _sweep(job)
        order = sensitivity.candidates([unit for unit, _ in ranked])
        chosen = sensitivity.fewest(order, lambda floats: bool(floats) and holds(floats))
    first, last = tries[frozenset()], list(tries.values())[-1]
    if chosen is None:
        what = f"INT8 breaks the bound ({bound}) on {last[0].images} images: {said(first[0])} with nothing in float"
        raise CheckFailed(f"{what}, {said(last[0])} with all but one layer in float", "loosen the bound, or calibrate on more images")
    fell = _fell(ranked, chosen)
    return Chosen(_accuracy(job, tries[chosen], judge, fell), _notes(job, fell, first, tries[chosen]))


def _labels(job: Job) -> NDArray[np.int64] | None:
    """In the order of the answers: unreadable images, which have none, are known once all were read."""
    tried = job.apart.judging
    if not job.apart.labelled or tried.labels is None:
        return None
    skipped = tried.images.skipped
    read_ones = [path for path in tried.paths if str(path.relative_to(tried.images.root)) not in skipped]
    return np.array([tried.labels[path] for path in read_ones], np.int64)


def _int8(job: Job, floats: Collection[str]) -> ModelProto:
    model = read(job.source.model)
    return with_types(model, "int8", job.engine, scales=job.scales, plugin=job.plugin, notes=[], floats=floats, wide=job.wide)


def _sweep(job: Job) -> list[tuple[Unit, float]]:
    """Every unit with the answers' SQNR when it alone is in INT8 (FP32 around it), the lowest first."""
    model = read(job.source.model)
    sites.name_nodes(model)
    model = prepared(model, job.scales)
    units = sensitivity.units(model, blocks=job.blocks)
    wanted = job.scores(job.source.model, job.apart.sweeping)
    names = {unit.name for unit in units}
    found = []
    for done, unit in enumerate(units):
        job.progress("measure sensitivity", done, len(units))
        alone = ModelProto()
        alone.CopyFrom(model)
        place(
            alone,
            job.scales.tensors,
            signed=job.engine.signed_int8,
            integer_blocks=job.blocks,
            floats=names - {unit.name},
            divided=divided(job.scales),
            shifted=shifted(job.scales),
        )
        found.append((unit, sqnr_db(wanted, job.tried(alone, job.apart.sweeping))))
    job.progress("measure sensitivity", len(units), len(units))
    return sorted(found, key=lambda pair: pair[1])


def _fell(ranked: list[tuple[Unit, float]], chosen: frozenset[str]) -> tuple[FellBack, ...]:
    return tuple(
        FellBack(name=unit.name, op=unit.op, sqnr_db=sqnr, reason=f"alone in INT8 it leaves {sqnr:.1f} dB, place {place} of {len(ranked)}")
        for place, (unit, sqnr) in enumerate(ranked, start=1)
        if unit.name in chosen
    )


def _accuracy(job: Job, figures: tuple[Score, float], judge: Judge, fell: tuple[FellBack, ...]) -> Judged:
    score, sqnr = figures
    kept = "data" if not job.apart.spared else "a fifth of calib"
    return Judged(
        bound=str(job.apart.bound), judged_on=kept, **score.model_dump(), top1_reference=judge.top1(), sqnr_db=sqnr, fallback=fell
    )


def _notes(job: Job, fell: tuple[FellBack, ...], first: tuple[Score, float], last: tuple[Score, float]) -> tuple[str, ...]:
    notes = [*samples.skipped(job.apart.judging)]
    notes.append(f"{job.apart.bound}: {said(last[0])}, {last[1]:.1f} dB on {last[0].images} images that were not used for calibration")
    if fell:
        kind = "FP16" if job.engine.strongly_typed else "FP32"
        notes.append(f"without fallback: {said(first[0])}, {first[1]:.1f} dB; {len(fell)} node(s) went back to {kind}")
        notes += [f"{one.name} ({one.op}) is in float: {one.reason}" for one in fell]
    return tuple(notes)
