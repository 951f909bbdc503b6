"""Ours beside the peers' INT8 on five trained SE networks, in one table: `python -m benchmarks.int8 [NETWORK ...]`.

Fetches documents, fonts and trained networks, renders and trains what is missing, installs the peers in environments of their own (all
kept in the user's cache), quantizes with 200 images each, and judges every file by ONNX Runtime. Results are kept as they come
(`--results`): a second run goes on where the first was stopped; `--again TEXT` does rows anew whose network or name holds the text.
`--fresh` judges ours and the peers' on other documents' pages and lines, which nobody looked at while the recipe was settled.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.int8 import page, sets
from benchmarks.int8.judge import Judge
from benchmarks.int8.networks import NETWORKS, Network
from benchmarks.int8.rows import Case, Failed, Row, rows
from se_deploy.errors import SeDeployError

Key = tuple[str, str]


def main() -> None:
    """Runs what is not among the results yet, and writes and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [network.name for network in NETWORKS]
    parser.add_argument("networks", nargs="*", choices=[[], *names], help="all where left out")
    parser.add_argument("--results", type=Path, help="results so far, a JSON object a line (default: docs/int8.jsonl or int8_fresh.jsonl)")
    parser.add_argument("--page", type=Path, help="default: the same with .md")
    parser.add_argument("--fresh", action="store_true", help="judge on other documents, pages and lines alone, without the ablations")
    parser.add_argument("--again", action="append", default=[], metavar="TEXT", help="do these rows anew; may be given several times")
    options = parser.parse_args()
    results = options.results or Path("docs/int8_fresh.jsonl" if options.fresh else "docs/int8.jsonl")
    written = options.page or results.with_suffix(".md")
    _forget(results, options.again)
    try:
        for network in NETWORKS:
            if (not options.networks or network.name in options.networks) and (not options.fresh or network.images in sets.FRESH):
                _run(network, results, options.fresh)
    except SeDeployError as error:
        raise SystemExit(f"error: {error}") from error
    text = page.text(list(_read(results).values()), NETWORKS, rows(), options.fresh)
    written.write_text(text)
    print(text)


def _run(network: Network, results: Path, fresh: bool) -> None:
    done = _read(results)
    wanted = [row for row in rows() if (row.only is None or network.name in row.only) and not (fresh and row.group == "ablation")]
    missing = [row for row in wanted if (network.name, row.name) not in done]
    if not missing and (network.name, page.FP32) in done:
        return
    images = sets.drawn(network.images)
    work = Path(tempfile.mkdtemp(prefix=f"int8-{network.name}-"))
    try:
        exported = network.export(work)
        judge = Judge(exported, sets.fresh(network.images) if fresh else images / "eval", work)
        _add(results, {"network": network.name, "row": page.FP32, "top1": judge.top1, **_counts(judge)})
        case = Case(exported, images / "calib", images / "judge", work)
        for row in missing:
            _add(results, {"network": network.name, "row": row.name, **_measured(row, case, judge)})
    finally:
        shutil.rmtree(work)


def _counts(judge: Judge) -> dict[str, Any]:
    return {"images": len(judge.labels), "undecided": int(judge.undecided.sum())}


def _measured(row: Row, case: Case, judge: Judge) -> dict[str, Any]:
    started = time.monotonic()
    try:
        made = row.make(case)
        figures = asdict(judge.figures(made.file))
    except (Failed, SeDeployError) as error:
        return {"failure": str(error)}
    finally:
        print(f"{case.exported.name}: {row.name}, {time.monotonic() - started:.0f} s", flush=True)
    return {**figures, "seconds": made.seconds, "cpu_seconds": made.cpu_seconds, "peak_mb": made.peak_mb, "remark": made.remark}


def _add(results: Path, result: dict[str, Any]) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(result) + "\n")


def _read(results: Path) -> dict[Key, dict[str, Any]]:
    """The last result of each row."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {(found["network"], found["row"]): found for found in map(json.loads, lines)}


def _forget(results: Path, texts: list[str]) -> None:
    if texts and results.exists():
        kept = [found for key, found in _read(results).items() if not any(text in part for text in texts for part in key)]
        results.write_text("".join(json.dumps(found) + "\n" for found in kept))


if __name__ == "__main__":
    main()
