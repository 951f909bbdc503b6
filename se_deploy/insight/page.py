"""A report on gates or on folding as one HTML file: tables in the markup, charts drawn by what travels inside; nothing is fetched."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from se_deploy import __version__
from se_deploy.insight.figures import curve, figures
from se_deploy.insight.folding import FoldReport
from se_deploy.insight.report import GateReport

#: Channels and tensors that a page lists; the JSON and the CSV files list all.
ROWS = 20


def page(report: GateReport, name: str, notes: Sequence[str]) -> str:
    """The page of `inspect --data`. `#report` holds what `--json` prints under `gates`."""
    said = f"{report.images} images, {len(report.classes)} classes, se-deploy {__version__}"
    return _document(f"Gates of {name}", said, notes, figures(report), _tables(report), report)


def folding(report: FoldReport, name: str) -> str:
    """The page of `fold`. `#report` holds what fold.json does."""
    rows = [(b.name, b.variation, "–" if b.loss is None else b.loss, b.saved_us, b.state, b.where or "–") for b in report.blocks]
    headings = ("block", "variation", "loss alone", f"saved on {report.target}, µs", "state", "factor went")
    before, after = report.score_before, report.score
    said = f"{after.images} images kept apart: agreement {after.agreement:.2f} %"
    said += "" if after.top1 is None or before.top1 is None else f", top-1 {before.top1:.2f} % before, {after.top1:.2f} % after"
    return _document(f"Folding of {name}", said, (), {"curve": curve(report)}, [_table("Blocks", headings, rows)], report)


def _document(
    title: str, said: str, notes: Sequence[str], charts: dict[str, dict[str, Any]], parts: Iterable[str], report: GateReport | FoldReport
) -> str:
    places = "".join(f"<div class=chart id={key}></div>" for key in charts)
    body = [
        f"<h1>{escape(title)}</h1><p>{escape(said)}</p>",
        _list(notes),
        f"<p id=problem></p><div class=charts>{places}</div>",
        *parts,
        _data("report", json.loads(report.model_dump_json())),
        _data("figures", charts),
        f"<script type=text/plain id=plotly>{_plotly()}</script>",
    ]
    style, script = ((files("se_deploy.insight") / "look" / file).read_text(encoding="utf-8") for file in ("style.css", "script.js"))
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"<head>{meta}<title>{escape(title)}</title><style>{style}</style></head>"
    return f'<!doctype html><html lang="en">{head}<body>{"".join(body)}<script>{script}</script></body></html>\n'


def _tables(report: GateReport) -> Iterator[str]:
    headings = (
        "block",
        "channels",
        "mean",
        "spread",
        "variation",
        "5 %",
        "median",
        "95 %",
        "class specificity",
        "saturated",
        "dead",
        "constant",
    )
    rows: list[Sequence[object]] = [
        (b.name, len(b.channels), b.mean, b.std, b.variation, b.quantiles[1], b.quantiles[3], b.quantiles[5], _percent(b.specificity))
        + (len(b.saturated), len(b.dead), len(b.constant))
        for b in report.blocks
    ]
    yield _table("Blocks", headings, rows)
    if report.ranking:
        rows = [(r.block, r.channel, _percent(r.specificity), r.between, r.highest, r.lowest) for r in report.ranking[:ROWS]]
        yield _table("Most class-specific channels", ("block", "channel", "specificity", "between classes", "highest", "lowest"), rows)
    if report.coverage is not None:
        beyond = [t for t in report.coverage.tensors if t.images_beyond > 0][:ROWS]
        rows = [(t.tensor, t.min, t.max, t.seen_min, t.seen_max, t.values_beyond, t.images_beyond) for t in beyond]
        title = f"Beyond the range of the {report.coverage.calibrated_on} calibration images"
        yield _table(title, ("tensor", "min", "max", "seen min", "seen max", "values, %", "images, %"), rows)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _table(title: str, headings: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _list(said: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in said)}</ul>"


def _data(place: str, value: Any) -> str:
    """JSON in the page; `<` is escaped, so that nothing in it ends the script."""
    return f'<script type="application/json" id={place}>{json.dumps(value).replace("<", chr(92) + "u003c")}</script>'


def _plotly() -> str:
    """The library, compressed: 4.8 MB become 2."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
