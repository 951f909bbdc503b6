"""From what was remembered of the gates to what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_deploy import op
from se_deploy.insight import bounds
from se_deploy.insight.bounds import Box
from se_deploy.insight.moments import Float, Moments
from se_deploy.insight.report import SHARES, BlockGates, ChannelGates, ClassGates, Coverage, GateReport, Ranked

#: A gate that stays within this share of its range is constant; within it of its upper end, saturated; of 0, dead.
TINY = 0.01
#: Channels that a ranking lists.
RANKED = 100
#: Numbers that a report holds of a block's classes and channels; beyond, the CSV files alone do.
MOST = 1 << 18


@dataclass(frozen=True)
class Watched:
    """A block, and what was seen of it; `proven` bounds its gate for every image."""

    name: str
    variant: op.Variant
    weights: Mapping[str, NDArray[np.float32]]
    attributes: Mapping[str, float]
    moments: Moments
    proven: Box | None


def report(watched: Sequence[Watched], classes: Sequence[str], coverage: Coverage | None) -> GateReport:
    """The report; `classes` are the rows of the moments, one named "all" where images have no classes."""
    labelled = len(classes) > 1
    blocks = tuple(_block(block, classes, labelled) for block in watched)
    ranking = _ranking(watched, classes) if labelled else ()
    return GateReport(images=watched[0].moments.images, classes=tuple(classes), blocks=blocks, ranking=ranking, coverage=coverage)


def _block(watched: Watched, classes: Sequence[str], labelled: bool) -> BlockGates:
    moments = watched.moments
    overall, total = moments.overall(), moments.total()
    between = moments.between()
    seen = Box(moments.pooled_low, moments.pooled_high)
    small = moments.mean.size <= MOST
    return BlockGates(
        name=watched.name,
        gate=watched.variant.gate,
        mean=short(overall.mean()),
        std=short(np.sqrt(total.mean() + overall.var())),
        variation=short(np.sqrt(total.mean())),
        quantiles=_shorts(moments.block_quantiles(SHARES)),
        specificity=short(between.sum() / total.sum()) if labelled and total.sum() > 0 else (0.0 if labelled else None),
        saturated=_where(saturated(moments)),
        dead=_where(dead(moments)),
        constant=_where(constant(moments)),
        classes=tuple(_classes(moments, classes, overall)),
        channels=tuple(_channels(watched, bounds.gate(watched.variant, seen, watched.weights, watched.attributes), labelled)),
        class_means=tuple(_row(row, bool(n)) for row, n in zip(moments.mean, moments.count, strict=True)) if small else None,
    )


def _classes(moments: Moments, classes: Sequence[str], overall: Float) -> list[ClassGates]:
    shares = moments.class_quantiles(SHARES)
    made = []
    for place, name in enumerate(classes):
        mean, count = moments.mean[place], int(moments.count[place])
        spread = moments.squares[place].mean() / max(count, 1) + mean.var()
        deviation = np.sqrt(np.square(mean - overall).mean())
        figures = [short(v) if count else None for v in (mean.mean(), np.sqrt(spread), deviation)]
        quantiles = _row(shares[:, place], bool(count))
        made.append(ClassGates(name=name, images=count, mean=figures[0], std=figures[1], deviation=figures[2], quantiles=quantiles))
    return made


def _channels(watched: Watched, bound: Box, labelled: bool) -> list[ChannelGates]:
    moments, proven = watched.moments, watched.proven
    mean, std, share = moments.overall(), np.sqrt(moments.total()), specificity(moments)
    quantiles = moments.channel_quantiles(SHARES)
    return [
        ChannelGates(
            mean=short(mean[c]),
            std=short(std[c]),
            min=float(moments.low[c]),
            max=float(moments.high[c]),
            quantiles=_shorts(quantiles[:, c]),
            specificity=short(share[c]) if labelled else None,
            bound_low=float(bound.low[c]),
            bound_high=float(bound.high[c]),
            proven_low=None if proven is None else float(proven.low[c]),
            proven_high=None if proven is None else float(proven.high[c]),
        )
        for c in range(moments.channels)
    ]


def specificity(moments: Moments) -> Float:
    """(C,) between-class over total variance; 0 for a gate that does not vary beyond rounding."""
    total = moments.total()
    return np.where(np.sqrt(total) > 1e-6, moments.between() / np.maximum(total, 1e-300), 0.0)


def _width(moments: Moments) -> float:
    return moments.range[1] - moments.range[0]


def saturated(moments: Moments) -> NDArray[np.bool_]:
    """(C,) whether a gate is at its upper end for every image."""
    return np.asarray(moments.low >= moments.range[1] - TINY * _width(moments))


def dead(moments: Moments) -> NDArray[np.bool_]:
    """(C,) whether a gate is about 0 for every image, so for every class."""
    return np.asarray(np.maximum(np.abs(moments.low), np.abs(moments.high)) <= TINY * _width(moments))


def constant(moments: Moments) -> NDArray[np.bool_]:
    """(C,) whether a gate is the same for every image."""
    return np.asarray(moments.high - moments.low <= TINY * _width(moments))


def _ranking(watched: Sequence[Watched], classes: Sequence[str]) -> tuple[Ranked, ...]:
    """By specificity, the larger movement first among equals; what stays constant is not ranked."""
    rows = []
    for block in watched:
        moments = block.moments
        share, between, still = specificity(moments), np.sqrt(moments.between()), constant(moments)
        seen = np.flatnonzero(moments.count)
        means = moments.mean[seen]
        for c in np.flatnonzero(~still).tolist():
            top, bottom = (classes[seen[place]] for place in (means[:, c].argmax(), means[:, c].argmin()))
            rows.append(
                Ranked(block=block.name, channel=c, specificity=short(share[c]), between=short(between[c]), highest=top, lowest=bottom)
            )
    rows.sort(key=lambda row: (-row.specificity, -row.between, row.block, row.channel))
    return tuple(rows[:RANKED])


def short(value: float | np.floating) -> float:
    """Six significant digits: what the images can tell, and files of a third of the size."""
    return float(f"{value:.6g}")


def _shorts(values: Float) -> tuple[float, ...]:
    return tuple(short(v) for v in values)


def _row(values: Float, there: bool) -> tuple[float | None, ...]:
    return tuple(short(v) if there else None for v in values)


def _where(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(c) for c in np.flatnonzero(mask))
