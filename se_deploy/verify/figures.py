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
    "margin": {"l": 55, "r": 15, "t": 35, "b": 50},
    "font": {"family": "system-ui, sans-serif", "size": 12},
    "title": {"font": {"size": 13}},
    "legend": {"orientation": "h", "y": -0.25, "yanchor": "top", "font": {"size": 11}},
    "hoverlabel": {"namelength": -1},
}

Chart = tuple[list[dict[str, Any]], dict[str, Any]]


def _label(run: Run) -> str:
    """The engine's file within its folder, and its precision."""
    return f"{'/'.join(run.engine.split('/')[-2:])} ({run.precision})"


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
    """Every engine at one batch size; a menu chooses it."""
    first, beside = report.runs[0].batch, report.reference.batches
    bars = [(b.batch, f"reference{_threads(report, b.threads)}", b.histogram_ms, _GREY) for b in beside]
    for place, (engine, runs) in enumerate(_sweeps(report).items()):
        bars += [(run.batch, engine, run.histogram_ms, _colour(place)) for run in runs]
    traces = [_steps(name, histogram, colour, shown=batch == first) for batch, name, histogram, colour in bars]
    layout = {"title": {"text": "Latency of single calls (the last bin holds the slowest 1 %)"}, "bargap": 0, "barmode": "overlay"}
    layout |= {"xaxis": {"title": {"text": "ms"}, "type": "log"}, "yaxis": {"title": {"text": "calls"}}}
    sizes = list(dict.fromkeys(batch for batch, *_ in bars))
    if len(sizes) > 1:
        buttons = [_button(f"batch {size}", [batch == size for batch, *_ in bars]) for size in sizes]
        layout["updatemenus"] = [{"buttons": buttons, "x": 1, "y": 1.0, "xanchor": "right", "yanchor": "top"}]
    return traces, layout


def _button(label: str, visible: list[bool]) -> dict[str, Any]:
    return {"label": label, "method": "restyle", "args": [{"visible": visible}]}


def _steps(label: str, histogram: Histogram, colour: str, *, shown: bool) -> dict[str, Any]:
    edges = histogram.edges
    bins = list(zip(edges, edges[1:], strict=False))
    text = [f"{low:.4g}–{high:.4g} ms" for low, high in bins]
    bars = {"x": [(low + high) / 2 for low, high in bins], "width": [high - low for low, high in bins], "y": list(histogram.counts)}
    look = {"customdata": text, "marker": {"color": colour, "opacity": 0.6}, "hovertemplate": "%{customdata}: %{y} calls"}
    return {"type": "bar", "name": label, "visible": shown, **bars, **look}


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
