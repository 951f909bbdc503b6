"""A gate report as CSV files, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from se_deploy.insight.report import SHARES, BlockGates, GateReport
from se_deploy.insight.summary import Watched, short

_QUANTILES = tuple(f"q{100 * share:02.0f}" for share in SHARES)
_BOUNDS = ("bound_low", "bound_high", "proven_low", "proven_high")


def write(report: GateReport, watched: Sequence[Watched], folder: Path) -> None:
    """Writes blocks.csv, classes.csv, channels.csv, ranking.csv, gates.csv (a row a block, class and channel) and coverage.csv."""
    blocks = report.blocks
    _table(
        folder / "blocks.csv",
        ("block", "gate", "channels", "images", "mean", "std", "variation", *_QUANTILES, "specificity", "saturated", "dead", "constant"),
        (
            (b.name, b.gate, len(b.channels), report.images, b.mean, b.std, b.variation, *b.quantiles, b.specificity)
            + (len(b.saturated), len(b.dead), len(b.constant))
            for b in blocks
        ),
    )
    _table(
        folder / "classes.csv",
        ("block", "class", "images", "mean", "std", "deviation", *_QUANTILES),
        ((b.name, c.name, c.images, c.mean, c.std, c.deviation, *c.quantiles) for b in blocks for c in b.classes),
    )
    _table(
        folder / "channels.csv",
        ("block", "channel", "mean", "std", "min", "max", *_QUANTILES, "specificity", "saturated", "dead", "constant", *_BOUNDS),
        _channels(blocks),
    )
    _table(
        folder / "ranking.csv",
        ("block", "channel", "specificity", "between", "highest", "lowest"),
        ((r.block, r.channel, r.specificity, r.between, r.highest, r.lowest) for r in report.ranking),
    )
    _table(folder / "gates.csv", ("block", "class", "channel", "images", "mean", "std"), _gates(report, watched))
    if report.coverage is not None:
        fields = ("tensor", "min", "max", "seen_min", "seen_max", "values_beyond", "images_beyond")
        _table(folder / "coverage.csv", fields, (tuple(getattr(t, f) for f in fields) for t in report.coverage.tensors))


def _channels(blocks: Sequence[BlockGates]) -> Iterable[tuple[object, ...]]:
    for block in blocks:
        listed = [frozenset(channels) for channels in (block.saturated, block.dead, block.constant)]
        for place, c in enumerate(block.channels):
            what = (int(place in channels) for channels in listed)
            bounds = (getattr(c, bound) for bound in _BOUNDS)
            yield block.name, place, c.mean, c.std, c.min, c.max, *c.quantiles, c.specificity, *what, *bounds


def _gates(report: GateReport, watched: Sequence[Watched]) -> Iterable[tuple[object, ...]]:
    for block in watched:
        moments = block.moments
        for label, name in enumerate(report.classes):
            count = int(moments.count[label])
            for channel in range(moments.channels if count else 0):
                std = (moments.squares[label, channel] / count) ** 0.5
                yield block.name, name, channel, count, short(moments.mean[label, channel]), short(std)


def _table(path: Path, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        writer.writerows(rows)
