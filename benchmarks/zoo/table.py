"""docs/zoo.md: a row per network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Above this error, as a share of the output's range, the network's own sensitivity to one unit in the last place is shown beside it.
TOLERANCE = 1e-5

Row = Mapping[str, Any]

_HEAD = """# Every SE network of timm and torchvision

Made by `python -m benchmarks.zoo`: timm {timm}, torchvision {torchvision}, PyTorch {torch}, ONNX Runtime {onnxruntime}. Each network is
built with random weights that vary its gates, exported by both of PyTorch's exporters at opset 18 with a dynamic batch, and fused. *SE
modules* are those that PyTorch executed; *found* are the nodes after `fuse`. The error is the largest difference between the fused and the
plain graph by ONNX Runtime, its optimiser off, at batches 1 and 3, as a share of the output's range; above 1e-5, in brackets, what one
unit in the last place of the input does to the plain graph. The fused files pass `onnx.checker` with its full check.

{summary}

| network | input | SE modules | found: dynamo, TorchScript | error | seconds |
|---|--:|--:|--:|--:|--:|
"""


def text(rows: Iterable[Row], total: int, versions: Mapping[str, str]) -> str:
    """The page, of the `total` networks that there are."""
    rows = sorted(rows, key=lambda row: row["name"])
    return _HEAD.format(summary=summary(rows, total), **versions) + "".join(f"{line(row)}\n" for row in rows)


def summary(rows: Iterable[Row], total: int) -> str:
    """Counts: networks, exports, exports in which every executed SE module was found, and those without a graph."""
    rows = list(rows)
    exports = [(row, outcome) for row in rows for outcome in row.get("outcomes", {}).values()]
    graphs = [(row, outcome) for row, outcome in exports if outcome["failure"] is None]
    whole = [outcome for row, outcome in graphs if outcome["found"] == row["executed"]]
    share = 100 * len(whole) / max(len(graphs), 1)
    count = str(len(rows)) if len(rows) >= total else f"{len(rows)} of {total}"
    return (
        f"{count} networks, {len(exports)} exports, {len(exports) - len(graphs)} without a graph (the reason is in its row). "
        f"All SE modules found in {len(whole)} of {len(graphs)} graphs ({share:.1f} %)."
    )


def line(row: Row) -> str:
    """A network in one line of the table."""
    if "crash" in row:
        return f"| {row['name']} | | | {row['crash']} | | |"
    outcomes = [row["outcomes"].get(name) for name in ("dynamo", "torchscript")]
    found = ", ".join("-" if o is None else _found(o, row["executed"]) for o in outcomes)
    errors = ", ".join(_error(o) for o in outcomes if o is not None and o["failure"] is None)
    seconds = sum(o["seconds"] for o in outcomes if o is not None)
    return f"| {row['name']} | {row['side']} | {row['executed']} | {found} | {errors} | {seconds:.0f} |"


def _found(outcome: Mapping[str, Any], executed: int) -> str:
    if outcome["failure"] is not None:
        return str(outcome["failure"]).replace("|", "\\|")
    mark = "" if outcome["found"] == executed else "**"
    return f"{mark}{outcome['found']}{mark}"


def _error(outcome: Mapping[str, Any]) -> str:
    ulp = f" ({outcome['ulp']:.0e})" if outcome["ulp"] is not None else ""
    return f"{outcome['error']:.0e}{ulp}"
