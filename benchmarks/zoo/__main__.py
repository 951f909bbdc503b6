"""Builds, exports, fuses and compares every SE network of timm and torchvision: `python -m benchmarks.zoo [NAME ...]`.

About two hours on two cores. Results are kept as they come (`--results`), a second run goes on where the first was stopped, and the page
docs/zoo.md is written as they come. Networks run a few to a process: exporters keep memory, and a crash costs one network. The largest
(half a billion parameters and more) need `--together 1` on a machine with 24 GB.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.zoo import table


def main() -> None:
    """Runs what is not among the results yet and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="timm:NAME or torchvision:NAME; all that hold an SE module where left out")
    parser.add_argument("--results", type=Path, default=Path("docs/zoo.jsonl"), help="results so far, a JSON object a line")
    parser.add_argument("--page", type=Path, default=Path("docs/zoo.md"))
    parser.add_argument("--together", type=int, default=8, metavar="N", help="networks that run in one process")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        for name in options.names:
            print(json.dumps(_tried(name)), flush=True)
        return
    names = options.names or _all()
    for file in (options.results, options.page):
        file.parent.mkdir(parents=True, exist_ok=True)
    _write(options.page, options.results, len(names))
    for _ in _run(names, options.results, options.together):
        _write(options.page, options.results, len(names))
    print(table.summary(_read(options.results).values(), len(names)))


def _write(page: Path, results: Path, total: int) -> None:
    packages = ("timm", "torchvision", "torch")
    versions = {name: version(name) for name in packages} | {"onnxruntime": version("onnxruntime-gpu")}
    page.write_text(table.text(_read(results).values(), total, versions))


def _all() -> list[str]:
    from benchmarks.zoo.models import names

    return names()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def _run(names: list[str], results: Path, together: int) -> Iterator[None]:
    """Writes the results of networks that have none yet, so many in a process; yields behind each process."""
    done = _read(results)
    waiting = [name for name in names if name not in done]
    total = len(waiting)
    while waiting:
        group, waiting = waiting[:together], waiting[together:]
        seen = []
        for row in _worker(group):
            seen.append(row["name"])
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{total - len(waiting) - len(group) + len(seen)}/{total}", table.line(row), file=sys.stderr, flush=True)
        left = [name for name in group if name not in seen]
        if left:
            crashed = {"name": left[0], "crash": "the process died"}
            with results.open("a") as file:
                file.write(json.dumps(crashed) + "\n")
            waiting = left[1:] + waiting
        yield


def _worker(names: list[str]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.zoo", "--worker", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):  # libraries print, too
                yield json.loads(line)


def _tried(name: str) -> dict[str, Any]:
    """A network's row; one that fails by an error of ours says which, and the run goes on."""
    try:
        return _row(name)
    except Exception as error:
        traceback.print_exc()
        return {"name": name, "crash": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def _row(name: str) -> dict[str, Any]:
    from benchmarks.zoo.check import check
    from benchmarks.zoo.models import executed, network

    module, example = network(name)
    outcomes = {}
    for exporter in ("dynamo", "torchscript"):
        outcomes[exporter] = asdict(check(module, example, exporter, table.TOLERANCE))
        gc.collect()
    return {"name": name, "side": example.shape[-1], "executed": executed(module, example), "outcomes": outcomes}


if __name__ == "__main__":
    main()
