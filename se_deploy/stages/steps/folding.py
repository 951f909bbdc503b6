"""Which gates of a network are folded: what they do on half of the images chooses, the other half judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy.artifacts import Precision, Progress
from se_deploy.errors import CheckFailed, FoldError
from se_deploy.graph.cost import cost
from se_deploy.graph.find import find
from se_deploy.graph.fold import Where, fold
from se_deploy.images import spread
from se_deploy.insight.folding import Bound, FoldedBlock, FoldedChannels, FoldReport, Score, State, Step, Totals, choose, order
from se_deploy.insight.summary import Watched
from se_deploy.stages.steps import costs, gates, judging, narrowing, pictures, timing
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.gates import Blocks
from se_deploy.stages.steps.judging import Held, Judge
from se_deploy.verify.labels import by_folder, listed
from se_deploy.verify.samples import Pictures

#: Percentage points of top-1, or percent of agreement, where no bound is named.
MAX_DROP, MIN_AGREEMENT = 0.5, 99.0
#: Images on which each block alone is tried, for the order.
TRIED = 256
#: Folding single channels saves next to nothing, so it may cost next to nothing: squared error as a share of the scores' variance.
CHANNELS = 1e-4
#: Fewer images than this judge nothing.
FEWEST = 20

Constants = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Job:
    """A fold under way: `choosing` and `judging` are the halves of the images, their labels those of the network's classes."""

    source: Exported
    blocks: Blocks
    choosing: Pictures
    judging: Pictures
    labelled: bool
    bound: Bound
    epsilon: float
    target: str
    progress: Progress
    notes: tuple[str, ...]


def prepare(source: Exported, data: str | Path, bound: Bound, epsilon: float, target: str, progress: Progress) -> Job:
    """Reads the model, and splits the images: every second one, so each class's too.

    Raises:
        FoldError: the images, the network or the arguments cannot judge a fold.
    """
    if not 0 <= epsilon < 1:
        raise FoldError(f"epsilon {epsilon:g} is not from 0 up to 1", "a gate's standard deviation is meant; 0.1 is usual")
    name = judging.scores_of(source.manifest)
    tried = pictures.pictures(source, data)
    classes = next(output.shape[1] for output in source.manifest.outputs if output.name == name)
    labels = by_folder(tried.images, source.manifest.labels, classes) if tried.images.classes and isinstance(classes, int) else None
    if bound.max_drop is not None and labels is None:
        raise FoldError(f"{data} has no class folders, so nothing tells how far top-1 drops", "use --min-agreement, or sort the images")
    if len(tried) < FEWEST:
        raise FoldError(f"{len(tried)} image(s) under {data} judge nothing", f"give at least {FEWEST}, better a thousand")
    notes: tuple[str, ...] = ()
    if bound == Bound(None, None):
        bound = Bound(None, MIN_AGREEMENT) if labels is None else Bound(MAX_DROP, None)
        notes = (f"no bound was named: {bound}",)
    first, second = (replace(tried, paths=tried.paths[start::2], labels=labels or tried.labels) for start in (0, 1))
    blocks = gates.blocks_of(source)
    if any(match.elem_type not in (0, 1) for match in blocks.matches):
        raise FoldError(f"{source.model} is not in FP32", "name the model that was exported in FP32")
    return Job(source, blocks, first, second, labels is not None, bound, epsilon, target, progress, notes)


def folded(job: Job) -> tuple[ModelProto, FoldReport, tuple[str, ...]]:
    """Chooses and folds.

    Raises:
        FoldError: every gate varies.
        CheckFailed: nothing can be folded within the bound.
    """
    by_gates = replace(job.choosing, labels=pictures.labels_of(job.choosing.images))
    watched, _ = gates.observe(job.source, job.blocks, by_gates, None, job.progress)
    constants = {w.name: w.moments.overall().astype(np.float32) for w in watched if variation(w) <= job.epsilon}
    saved = costs.savings(job.blocks.model, find(job.blocks.model), _sizes(job), job.target, _precision(job), 1)
    with judging.holding(job.blocks, constants, job.source.manifest, job.progress) as held:
        judge = _judge(job, held)
        losses = _losses(job, held)

        def trial(names: frozenset[str]) -> Score:
            return judge.score(held.scores(job.judging, names, f"fold {len(names)} block(s)"))

        chosen, curve = choose(order(losses, saved), len(watched), trial, job.bound)
    whole = fold(job.blocks.model, {name: constants[name] for name in constants if name in chosen})
    rest = [w for w in watched if w.name not in chosen]
    as_whole = _scores(job, whole.model)

    def fine(made: ModelProto) -> bool:
        scores = _scores(job, made)
        return job.bound.holds(judge.score(scores)) and judging.loss(scores, as_whole) <= CHANNELS

    model, channels = narrowing.narrowed(whole.model, rest, fine)
    _refuse_nothing(job, watched, curve, bool(chosen or channels))
    score = judge.score(_scores(job, model))
    if not job.bound.holds(score):
        raise CheckFailed(f"the folded graph breaks the bound ({job.bound}): {said(score)}", "report this: its gates held it")
    report = _report(job, model, judge, score, _rows(job, watched, losses, saved, whole.places), channels, curve, saved)
    return model, report, _remarks(job, report)


def variation(watched: Watched) -> float:
    """The root mean square over channels of the gate's standard deviation over images."""
    return float(np.sqrt(watched.moments.total().mean()))


def said(score: Score) -> str:
    """A score in words."""
    drop = "" if score.drop is None else f", top-1 {0.0 - score.drop:+.2f} points"
    return f"agreement {score.agreement:.2f} %{drop}"


def _sizes(job: Job) -> dict[str, tuple[int, ...]]:
    return {spec.name: (spec.min[0], *spec.opt[1:]) for spec in job.source.manifest.inputs}


def _precision(job: Job) -> Precision:
    return "fp32" if job.target == "cpu" else "fp16"


def _judge(job: Job, held: Held) -> Judge:
    best, labels = [], []
    for chunk, scores in held.answers(job.judging, frozenset(), "the network as it is"):
        best.append(scores.argmax(1))
        labels.append(chunk.labels)
    known = np.concatenate([part for part in labels if part is not None]) if job.labelled else None
    return Judge(np.concatenate(best), known)


def _losses(job: Job, held: Held) -> dict[str, float]:
    """Each block alone, on some of the images that choose."""
    some = replace(job.choosing, paths=spread(job.choosing.paths, TRIED))
    before = held.scores(some, frozenset(), "the network as it is")
    return {name: judging.loss(held.scores(some, frozenset({name}), f"hold {name}"), before) for name in held.names}


def _scores(job: Job, model: ModelProto) -> NDArray[np.float32]:
    """Of a graph itself, on the images that judge."""
    name = judging.scores_of(job.source.manifest)
    with gates.opened(model) as runner:
        return np.concatenate([pictures.rows(answer[name]) for _, answer in pictures.answers(runner, job.judging)])


def _refuse_nothing(job: Job, watched: list[Watched], curve: list[Step], done: bool) -> None:
    if done:
        return
    if not curve:
        least = min(watched, key=variation)
        raise FoldError(
            f"no gate of {job.source.manifest.name} is constant within {job.epsilon:g} on these images; the steadiest, {least.name}, "
            f"varies by {variation(least):.3g}",
            "the network needs its gates; --epsilon allows more, and the bound still holds",
        )
    best = max(curve, key=lambda step: step.score.agreement)
    raise CheckFailed(f"no block can be folded with {job.bound}; the least that one costs ({best.block}): {said(best.score)}", "allow more")


def _rows(
    job: Job, watched: list[Watched], losses: dict[str, float], saved: dict[str, float], places: Mapping[str, Where]
) -> tuple[FoldedBlock, ...]:
    def state(name: str) -> State:
        return "folded" if name in places else "costs accuracy" if name in losses else "varies"

    return tuple(
        FoldedBlock(
            name=w.name,
            variation=variation(w),
            loss=losses.get(w.name),
            saved_us=saved[w.name],
            state=state(w.name),
            where=places.get(w.name),
        )
        for w in watched
    )


def _report(
    job: Job,
    model: ModelProto,
    judge: Judge,
    score: Score,
    rows: tuple[FoldedBlock, ...],
    channels: tuple[FoldedChannels, ...],
    curve: list[Step],
    saved: dict[str, float],
) -> FoldReport:
    sizes = _sizes(job)
    was, now = (cost(graph, find(graph), sizes) for graph in (job.blocks.model, model))
    left = sum(row.state != "folded" for row in rows)
    predicted = costs.predicted(job.blocks.model, find(job.blocks.model), sizes, job.target, _precision(job), 1)
    before_us = predicted.network_us + min(predicted.fused_us, predicted.unfused_us)
    gone = sum(saved[row.name] for row in rows if row.state == "folded")
    none = Score(images=score.images, agreement=100.0, top1=judge.top1(), drop=None if judge.labels is None else 0.0)
    return FoldReport(
        epsilon=job.epsilon,
        max_drop=job.bound.max_drop,
        min_agreement=job.bound.min_agreement,
        target=job.target,
        images_choosing=len(job.choosing),
        score_before=none,
        score=score,
        blocks=rows,
        channels=channels,
        curve=tuple(curve),
        params=Totals(before=was.params, after=now.params),
        macs=Totals(before=was.macs, after=now.macs),
        se_blocks=Totals(before=len(rows), after=left),
        predicted_us=Totals(before=before_us, after=before_us - gone),
        latency_ms=Totals(**dict(zip(("before", "after"), timing.beside(job.blocks.model, model, job.judging, job.progress), strict=True))),
    )


def _remarks(job: Job, report: FoldReport) -> tuple[str, ...]:
    varies = [f"{row.name} ({row.variation:.2g})" for row in report.blocks if row.state == "varies"]
    costly = [row.name for row in report.blocks if row.state == "costs accuracy"]
    where = [row.name for row in report.blocks if row.where == "mul"]
    params, macs, ms = report.params, report.macs, report.latency_ms
    folded_channels = sum(c.folded for c in report.channels)
    skipped = sorted({*job.choosing.images.skipped})
    return tuple(
        remark
        for remark, there in (
            (f"folded {int(report.se_blocks.before - report.se_blocks.after)} of {int(report.se_blocks.before)} SE blocks", True),
            (f"{folded_channels} single channels folded in {len(report.channels)} block(s)", bool(folded_channels)),
            (f"gates that vary by more than {job.epsilon:g} are not folded: {listed(varies)}", bool(varies)),
            (f"beyond the bound ({job.bound}), so not folded: {listed(costly)}", bool(costly)),
            (f"no layer beside them takes the factor, a multiplication stays: {listed(where)}", bool(where)),
            (f"on {report.score.images} images kept apart: {said(report.score)}", True),
            (
                f"parameters {params.before:,.0f} -> {params.after:,.0f}, MACs {macs.before:,.0f} -> {macs.after:,.0f}, ONNX Runtime here "
                f"{ms.before:.2f} -> {ms.after:.2f} ms ({100 * (ms.after / ms.before - 1):+.1f} %)",
                True,
            ),
            (f"skipped {len(skipped)} image(s) that cannot be used: {listed(skipped)}", bool(skipped)),
        )
        if there
    )
