"""A bench report as one HTML file: its tables stand in the markup, its charts are drawn by what travels inside; nothing is fetched."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from typing import Any

from se_deploy import __version__
from se_deploy.verify.cells import Values, cell, name, table
from se_deploy.verify.figures import figures
from se_deploy.verify.report import BenchReport, Run

#: Classes and outputs are listed whole in the JSON; a page lists so many classes.
CLASSES = 50


def page(report: BenchReport) -> str:
    """The page. `#report` holds exactly what `--json` prints."""
    data = json.loads(report.model_dump_json())
    charts = figures(report)
    parts = [*_head(report), "<h2>Engines</h2>", _engines(report, Values(data)), _included(report, Values(data))]
    parts.append("<h2>Charts</h2><p id=problem></p><div class=charts>")
    parts += [f"<figure><div class=chart id={key}></div></figure>" for key in charts]
    parts.append("</div><h2>Accuracy</h2>")
    seen: set[str] = set()
    for number, run in enumerate(report.runs):
        if run.engine not in seen:
            seen.add(run.engine)
            parts += _accuracy(run, f"runs.{number}.accuracy", Values(data))
    parts.append(_list("Remarks", report.notes))
    parts += [_json("report", data), _json("figures", charts), f"<script type=text/plain id=plotly>{_plotly()}</script>"]
    own = files("se_deploy.verify") / "page"
    style, script = ((own / file).read_text(encoding="utf-8") for file in ("style.css", "script.js"))
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"<head>{meta}<title>se-deploy bench</title><style>{style}</style></head>"
    return f'<!doctype html><html lang="en">{head}<body>{"".join(parts)}<script>{script}</script></body></html>\n'


def _head(report: BenchReport) -> Iterator[str]:
    kind = "PyTorch" if report.reference.kind == "pytorch" else "plain.onnx in FP32"
    state = "passed" if report.passed else "failed"
    yield f"<h1>Engines against {kind} <span class={state}>{state}</span></h1>"
    first = report.runs[0]
    threads = ", ".join(map(str, report.threads))
    yield f"<p><small>{escape(first.device)}, {threads} thread(s), se-deploy {__version__}</small></p>"
    yield _list("What did not pass", report.failures)


def _list(title: str, said: Iterable[str]) -> str:
    """Sentences, each once; empty where there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in dict.fromkeys(said))
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _included(report: BenchReport, values: Values) -> str:
    prepared = f" Decoding and preparing an image takes {values.number('preprocess_ms', '.2f')} ms." if report.preprocess_ms else ""
    return (
        "<p><small>Latency is milliseconds per batch, host memory to host memory: copies included, decoding and preprocessing left out."
        f"{prepared} Engines and reference were measured in turns; intervals are 95 %.</small></p>"
    )


def _engines(report: BenchReport, values: Values) -> str:
    against = [versus.name for versus in report.runs[0].baselines]
    headings = ["engine", "format", "batch", "threads", "size, MB", "agreement", "top-1", "top-5", "p50", "p99", "images/s", "speed-up"]
    rows = []
    for number in range(len(report.reference.batches)):
        key = f"reference.batches.{number}"
        times = [cell(values.number(f"{key}.latency_ms.{p}", ".3f")) for p in ("p50", "p99")]
        top1 = cell(values.share("runs.0.accuracy.top1_reference"))
        blank = [cell("–")] * (1 + len(against))
        speed = cell(values.number(f"{key}.throughput", ".1f"))
        sizes = [cell(values.number(f"{key}.{field}", "d")) for field in ("batch", "threads")]
        who = name(f"reference ({report.reference.kind})")
        rows.append([who, cell("fp32"), *sizes, cell("–"), cell("–"), top1, cell("–"), *times, speed, *blank])
    for number, run in enumerate(report.runs):
        rows.append(_engine(run, f"runs.{number}", values, against))
    return table("One row an engine and batch", [*headings, *(f"over {other}" for other in against)], rows)


def _engine(run: Run, key: str, values: Values, against: list[str]) -> list[str]:
    there = [versus.name for versus in run.baselines]
    ratios = [values.interval(f"{key}.baselines.{there.index(n)}.speedup", ".2f", "x") if n in there else "–" for n in against]
    return [
        name(run.engine),
        cell(f"{escape(run.backend)} {run.precision}"),
        *(cell(values.number(f"{key}.{field}", "d")) for field in ("batch", "threads")),
        cell(f'<span data-key="{key}.size_bytes" data-scale="1e6">{run.size_bytes / 1e6:.1f}</span>'),
        *(cell(values.share(f"{key}.accuracy.{share}")) for share in ("agreement", "top1", "top5")),
        *(cell(values.number(f"{key}.latency_ms.{p}", ".3f")) for p in ("p50", "p99")),
        cell(values.number(f"{key}.throughput", ".1f")),
        cell(values.interval(f"{key}.speedup", ".2f", "x")),
        *(cell(ratio) for ratio in ratios),
    ]


def _accuracy(run: Run, key: str, values: Values) -> Iterator[str]:
    accuracy = run.accuracy
    yield f"<h3>{escape(run.engine)}, {values.number(f'{key}.images', 'd')} images</h3>"
    headings = ["output", "shape", "max", "mean", "p99", "cosine", "SQNR, dB", "IoU", "beyond tolerance, %", "NaN, Inf"]
    yield table("Errors per output", headings, (_output(run, number, key, values) for number in range(len(accuracy.outputs))))
    tests = [f"{key}.paired"] if accuracy.paired else []
    tests += [f"{key}.verification.paired"] if accuracy.verification else []
    headings = ["paired with the reference", "engine alone right", "reference alone right", "McNemar p", "drop, points"]
    yield table("McNemar's exact test", headings, (_test(at, values) for at in tests))
    if accuracy.verification:
        at = f"{key}.verification"
        shares = [cell(values.share(f"{at}.{kind}")) for kind in ("accuracy", "accuracy_reference")]
        yield table("Verification of pairs", ["pairs", "engine", "reference"], [[cell(values.number(f"{at}.pairs", "d")), *shares]])
    headings = ["image", "error / size", "output", "answer", "reference", "label"]
    yield table("Images farthest from the reference", headings, (_worst(run, n, key, values) for n in range(len(accuracy.worst))))
    if accuracy.classes:
        headings = ["class", "images", "top-1, %", "reference, %", "drop, points"]
        rows = (_class(run, number, key, values) for number in range(min(CLASSES, len(accuracy.classes))))
        yield f"<details><summary>Classes, the largest drops first</summary>{table('Classes', headings, rows)}</details>"


def _output(run: Run, number: int, key: str, values: Values) -> list[str]:
    at, output = f"{key}.outputs.{number}", run.accuracy.outputs[number]
    found = ", ".join(f"{escape(n.whose)}: {n.kind} in {n.images}, first {escape(n.first)}" for n in output.non_finite)
    return [
        name(output.name),
        cell("×".join(map(str, output.shape)) or "1"),
        *(cell(values.number(f"{at}.{field}", ".4g")) for field in ("max", "mean", "p99")),
        cell(values.number(f"{at}.cosine", ".6f")),
        cell(values.number(f"{at}.sqnr_db", ".1f")),
        cell(values.number(f"{at}.iou", ".4f")),
        cell(values.number(f"{at}.tolerance.beyond_percent", ".3g")),
        cell(found or "none"),
    ]


def _test(at: str, values: Values) -> list[str]:
    what = "verification" if "verification" in at else "top-1"
    counts = [cell(values.number(f"{at}.{field}", "d")) for field in ("only_engine", "only_reference")]
    return [name(what), *counts, cell(values.number(f"{at}.p", ".3g")), cell(values.interval(f"{at}.drop", ".2f"))]


def _worst(run: Run, number: int, key: str, values: Values) -> list[str]:
    image = run.accuracy.worst[number]
    error = "not finite" if image.error is None else values.number(f"{key}.worst.{number}.error", ".3g")
    return [name(image.name), cell(error), name(image.output), *(name(text) for text in (image.answer, image.reference, image.label))]


def _class(run: Run, number: int, key: str, values: Values) -> list[str]:
    at = f"{key}.classes.{number}"
    shares = [cell(values.number(f"{at}.{field}", ".2f")) for field in ("top1", "top1_reference", "drop")]
    return [name(run.accuracy.classes[number].name), cell(values.number(f"{at}.images", "d")), *shares]


def _json(place: str, data: Any) -> str:
    """JSON in the page; `<` is escaped, so that nothing in it ends the script."""
    return f'<script type="application/json" id={place}>{json.dumps(data).replace("<", chr(92) + "u003c")}</script>'


def _plotly() -> str:
    """The library, compressed: 4.8 MB become 2."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
