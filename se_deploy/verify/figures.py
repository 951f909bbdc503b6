"""The charts of a report, by Plotly; every number in them is the report's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from se_deploy.verify.report import BenchReport, Histogram, Run

#: Classes that a chart of drops shows.
CLASSES = 30
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#718096", "#b7791f", "#319795")
_GREY = "#4a5568"


def figures(report: BenchReport) -> dict[str, dict[str, Any]]:
    """Charts by the id of their place, as Plotly's JSON."""
    import plotly.graph_objects as go

    made = {"speedup": _speedup(report), "throughput": _throughput(report), "histogram": _histogram(report)}
    if any(run.accuracy.agreement or run.accuracy.top1 for run in report.runs):
        made["shares"] = _shares(report)
    if any(run.accuracy.classes for run in report.runs):
        made["classes"] = _classes(report)
    drawn: dict[str, dict[str, Any]] = {}
    for key, (traces, layout) in made.items():
        layout["title"] = {**_LAYOUT["title"], **layout["title"]}
        drawn[key] = json.loads(go.Figure(traces, {**_LAYOUT, **layout}).to_json())
    return drawn


_LAYOUT: dict[str, Any] = {
    "template": "none",
    "margin": {"l": 55, "r": 15, "t": 35, "b": 45},
    "font": {"family": "system-ui, sans-serif", "size": 12},
    "title": {"font": {"size": 13}},
    "legend": {"orientation": "h", "y": -0.2},
    "hoverlabel": {"namelength": -1},
}

Chart = tuple[list[dict[str, Any]], dict[str, Any]]


def _label(run: Run) -> str:
    return f"{run.engine} ({run.precision})"


def _threads(report: BenchReport, threads: int) -> str:
    """A remark on the threads, where there are several counts of them."""
    return "" if len(report.threads) == 1 else f", {threads} thread(s)"


def _sweeps(report: BenchReport) -> dict[str, list[Run]]:
    """An engine's runs over all batch sizes, for each number of threads."""
    found: dict[str, list[Run]] = {}
    for run in report.runs:
        found.setdefault(_label(run) + _threads(report, run.threads), []).append(run)
    return found


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]


def _whiskers(values: Sequence[Any], **more: Any) -> dict[str, Any]:
    """Points with their intervals."""
    above, below = [v.high - v.value for v in values], [v.value - v.low for v in values]
    return {"y": [v.value for v in values], "error_y": {"type": "data", "symmetric": False, "array": above, "arrayminus": below}, **more}


def _speedup(report: BenchReport) -> Chart:
    traces = []
    for place, (engine, runs) in enumerate(_sweeps(report).items()):
        batches = [str(run.batch) for run in runs]
        marker = {"size": 9, "color": _colour(place)}
        points = _whiskers([run.speedup for run in runs], x=batches, name=engine, mode="markers", marker=marker)
        traces.append({"type": "scatter", **points})
    layout = {"title": {"text": "Speed-up over the reference, 95 % intervals"}, "scattermode": "group"}
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": {"dash": "dot", "color": _GREY}}
    axes = {"xaxis": {"title": {"text": "batch"}, "type": "category"}, "yaxis": {"title": {"text": "times"}, "rangemode": "tozero"}}
    return traces, {**layout, **axes, "shapes": [line]}


def _throughput(report: BenchReport) -> Chart:
    traces: list[dict[str, Any]] = []
    for threads in report.threads:
        beside = [b for b in report.reference.batches if b.threads == threads]
        name = f"reference{_threads(report, threads)}"
        traces.append(_line(name, [b.batch for b in beside], [b.throughput for b in beside], _GREY))
    for place, (engine, runs) in enumerate(_sweeps(report).items()):
        traces.append(_line(engine, [run.batch for run in runs], [run.throughput for run in runs], _colour(place)))
    layout = {"title": {"text": "Throughput"}, "xaxis": {"title": {"text": "batch"}, "type": "category"}}
    return traces, {**layout, "yaxis": {"title": {"text": "images/s"}, "rangemode": "tozero"}}


def _line(label: str, batches: Sequence[int], values: Sequence[float], colour: str) -> dict[str, Any]:
    x, y = [str(batch) for batch in batches], list(values)
    return {"type": "scatter", "mode": "lines+markers", "name": label, "x": x, "y": y, "line": {"color": colour}}


def _histogram(report: BenchReport) -> Chart:
    first = report.runs[0].batch
    beside = report.reference.batches
    names = [f"reference, batch {b.batch}{_threads(report, b.threads)}" for b in beside]
    traces = [_steps(name, b.histogram_ms, _GREY, shown=b.batch == first) for name, b in zip(names, beside, strict=True)]
    for place, (engine, runs) in enumerate(_sweeps(report).items()):
        traces += [_steps(f"{engine}, batch {r.batch}", r.histogram_ms, _colour(place), shown=r.batch == first) for r in runs]
    layout = {"title": {"text": "Latency of single calls (the last bin holds the slowest 1 %)"}, "bargap": 0, "barmode": "overlay"}
    return traces, {**layout, "xaxis": {"title": {"text": "ms"}, "type": "log"}, "yaxis": {"title": {"text": "calls"}}}


def _steps(label: str, histogram: Histogram, colour: str, *, shown: bool) -> dict[str, Any]:
    edges = histogram.edges
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    widths = [high - low for low, high in zip(edges, edges[1:], strict=False)]
    text = [f"{low:.4g}–{high:.4g} ms" for low, high in zip(edges, edges[1:], strict=False)]
    bars = {"x": middles, "y": list(histogram.counts), "width": widths, "customdata": text, "marker": {"color": colour, "opacity": 0.6}}
    hover = "%{customdata}: %{y} calls"
    return {"type": "bar", "name": label, "visible": True if shown else "legendonly", "hovertemplate": hover, **bars}


def _shares(report: BenchReport) -> Chart:
    one = {_label(run): run for run in reversed(report.runs)}
    traces = []
    for place, (title, values) in enumerate(
        (("agreement", [run.accuracy.agreement for run in one.values()]), ("top-1", [run.accuracy.top1 for run in one.values()]))
    ):
        there = [(label, value) for label, value in zip(one, values, strict=True) if value is not None]
        if there:
            points = _whiskers([v for _, v in there], x=[label for label, _ in there], name=title, mode="markers", marker={"size": 9})
            traces.append({"type": "scatter", **points, "marker": {"size": 9, "color": _colour(place)}})
    return traces, {"title": {"text": "Agreement and top-1, 95 % intervals"}, "yaxis": {"title": {"text": "%"}}}


def _classes(report: BenchReport) -> Chart:
    traces = []
    for place, (label, run) in enumerate({_label(run): run for run in reversed(report.runs)}.items()):
        drops = run.accuracy.classes[:CLASSES]
        hover = [f"{d.top1:.2f} % of {d.images}, reference {d.top1_reference:.2f} %" for d in drops]
        bars = {"x": [d.name for d in drops], "y": [d.drop for d in drops], "customdata": hover, "marker": {"color": _colour(place)}}
        traces.append({"type": "bar", "name": label, **bars, "hovertemplate": "%{x}: %{y:.2f} points<br>%{customdata}"})
    title = f"Drop in top-1 by class, the {CLASSES} largest"
    return traces, {"title": {"text": title}, "xaxis": {"type": "category"}, "yaxis": {"title": {"text": "percentage points"}}}
