"""The charts of a gate report, by Plotly; every number in them is the report's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from se_deploy.insight.folding import FoldReport
from se_deploy.insight.report import BlockGates, GateReport

#: Classes that the curves of a block show, those with the most special gates, and the mean of all; the paper's figure 5 has five.
CURVES = 5
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280")
_LAYOUT: dict[str, Any] = {
    "template": "none",
    "font": {"family": "system-ui, sans-serif", "size": 11},
    "margin": {"l": 55, "r": 15, "t": 35, "b": 75},
    "legend": {"orientation": "h", "y": -0.36},
}


def figures(report: GateReport) -> dict[str, dict[str, Any]]:
    """Charts by the id of their place, as Plotly's JSON."""
    import plotly.graph_objects as go

    made: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {}
    if len(report.classes) > 1:
        made["deviation"] = _heat(report, "deviation", "How far a class's gates are from those of all images")
        made["means"] = _heat(report, "mean", "Mean gate")
    chosen = _special(report)
    for number, block in enumerate(report.blocks):
        if block.class_means is not None:
            made[f"curve{number}"] = _curves(block, report.classes, chosen)
    return {key: json.loads(go.Figure(data, {**_LAYOUT, **layout}).to_json()) for key, (data, layout) in made.items()}


def curve(report: FoldReport) -> dict[str, Any]:
    """Accuracy (agreement, where there are no labels) against the blocks that keep their gates; a step that was not kept is hollow."""
    import plotly.graph_objects as go

    by_labels = report.score_before.top1 is not None
    first = report.score_before.top1 if by_labels else report.score_before.agreement
    steps = report.curve
    x = [int(report.se_blocks.before), *(step.blocks_left for step in steps)]
    y = [first, *(step.score.top1 if by_labels else step.score.agreement for step in steps)]
    symbols = ["circle", *("circle" if step.kept else "circle-open" for step in steps)]
    names = ["nothing folded", *(step.block for step in steps)]
    marker = {"symbol": symbols, "size": 8, "color": _COLOURS[0]}
    trace = {"type": "scatter", "mode": "markers", "x": x, "y": y, "text": names, "hovertemplate": "%{text}: %{y:.2f} %<extra></extra>"}
    what = "top-1, %" if by_labels else "agreement, %"
    axes = {"xaxis": {"title": {"text": "blocks that keep their gates"}, "autorange": "reversed"}, "yaxis": {"title": {"text": what}}}
    layout = {**_LAYOUT, "title": {"text": "Accuracy against blocks kept, on images kept apart", "font": {"size": 13}}, **axes}
    drawn: dict[str, Any] = json.loads(go.Figure([{**trace, "marker": marker}], layout).to_json())
    return drawn


def _heat(report: GateReport, field: str, title: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    blocks = [block.name for block in report.blocks]
    values = [[getattr(c, field) for c in block.classes] for block in report.blocks]
    hover = "%{y}, class %{x}: %{z:.4f}<extra></extra>"
    trace = {"type": "heatmap", "z": values, "x": list(report.classes), "y": blocks, "colorscale": "Viridis", "hovertemplate": hover}
    axes = {
        "xaxis": {"title": {"text": "class"}, "type": "category"},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True},
    }
    return [trace], {"title": {"text": title, "font": {"size": 13}}, **axes}


def _special(report: GateReport) -> list[int]:
    """The classes whose gates deviate most, summed over blocks."""
    sums = [sum(block.classes[place].deviation or 0.0 for block in report.blocks) for place in range(len(report.classes))]
    there = [place for place in range(len(sums)) if report.blocks[0].classes[place].images]
    return sorted(sorted(there, key=lambda place: -sums[place])[:CURVES])


def _curves(block: BlockGates, classes: Sequence[str], chosen: Sequence[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A gate against its channel, as in Hu et al.'s figure 5; channels are in the order of the mean over all images."""
    assert block.class_means is not None
    order = sorted(range(len(block.channels)), key=lambda c: block.channels[c].mean)
    traces = []
    if len(classes) > 1:
        for colour, place in zip(_COLOURS, chosen, strict=False):
            y = [block.class_means[place][c] for c in order]
            traces.append(_line(classes[place], order, y, {"color": colour, "width": 1}))
    traces.append(_line("all", order, [block.channels[c].mean for c in order], {"color": "#1a202c", "width": 2}))
    specific = "" if block.specificity is None else f", class specificity {100 * block.specificity:.1f} %"
    title = {"text": f"{block.name}{specific}", "font": {"size": 13}}
    low, high = min(0.0, min(c.min for c in block.channels)), max(1.0, max(c.max for c in block.channels))
    axes = {"xaxis": {"title": {"text": "channel, by its mean gate", "standoff": 5}}, "yaxis": {"range": [low - 0.02, high + 0.02]}}
    return traces, {"title": title, **axes}


def _line(label: str, order: Sequence[int], y: Sequence[float | None], line: dict[str, Any]) -> dict[str, Any]:
    names = [f"channel {c}" for c in order]
    hover = "%{text}: %{y:.4f}"
    return {"type": "scatter", "mode": "lines", "name": label, "y": list(y), "text": names, "hovertemplate": hover, "line": line}
