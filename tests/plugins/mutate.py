"""Leaves out one barrier of the kernels at a time and tells which case notices.

    python -m tests.plugins.mutate

The CPU runner leaves a barrier out when it is told its file and line, which is the same as a source without that line. A barrier that
is a function of ours is taken out of the source.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.plugins.cases import Case, Device, run
from tests.plugins.compiling import KERNELS, TESTS, compiled

BARRIER = re.compile(r"^(?!__device__).*\b(__syncthreads|__syncwarp|clusterSync|waitFor)\(")
OURS = re.compile(r"^ .*\bgroupBarrier\(.*;$")
SCHEDULES = range(9)


def barriers(pattern: re.Pattern[str] = BARRIER) -> list[str]:
    """Every barrier in the kernels' sources, as file.cuh:12."""
    return [
        f"{path.name}:{number}"
        for path in sorted(KERNELS.glob("*.cuh"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.match(line.split("//")[0])
    ]


def cases() -> Iterator[list[Case]]:
    """Small cases in which every barrier matters: several rounds of rows and tiles, several jobs a block, several images a group."""
    few = Device(multiprocessors=1)
    shapes = [
        Case(n=5, c=24, r=40, hw=600),  # rows of several warps, in rounds
        Case(n=3, c=70, r=40, hw=7),  # rows of a lane
        Case(layout="hwc8", dtype="float16", n=3, c=136, r=9, hw=30),  # tiles in rounds
        Case(act="none", n=4, c=33, hw=20),
    ]
    counted = replace(Case(n=12, c=64, r=8, hw=224, seed=2).on("persistent"), counted=True)
    alone = replace(Case(n=6, c=64, r=8, hw=224, seed=0).on("persistent"), counted=True)
    for schedule in SCHEDULES:
        for road in ("split", "cluster", "persistent"):
            group = [replace(case.on(road), schedule=schedule) for case in shapes]
            yield [replace(case, device=few) for case in group] if road == "split" else group
        if schedule % 3 == 0:
            yield [replace(counted, schedule=schedule), replace(alone, schedule=schedule)]


def without(barrier: str, folder: Path) -> Path:
    """The runner, compiled from sources without that line."""
    sources = folder / "kernels"
    shutil.copytree(KERNELS, sources)
    name, number = barrier.split(":")
    lines = (sources / name).read_text().splitlines()
    lines[int(number) - 1] = ""
    (sources / name).write_text("\n".join(lines) + "\n")
    return compiled(TESTS / "run_cases.cpp", folder=sources)


def noticed(binary: Path, folder: Path, barrier: str) -> str | None:
    """What fails without that barrier: the first line of it, or None."""
    for group in cases():
        try:
            lines = run(binary, group, folder, SIMT_SKIP=barrier)
        except AssertionError as error:
            return str(error).splitlines()[0]
        except subprocess.TimeoutExpired:
            return f"{group[0]}: never ends"
        for case, line in zip(group, lines, strict=True):
            if case.counted and line["traffic"]["fetched"] != case.n * case.image_bytes:
                return f"{case}: x comes from memory more than once"
    return None


def main() -> None:
    """Prints a line per barrier; exits with 1 where one may be left out unnoticed."""
    binary = compiled(TESTS / "run_cases.cpp")
    survivors = 0
    for barrier in barriers() + barriers(OURS):
        with tempfile.TemporaryDirectory() as folder:
            mutant = without(barrier, Path(folder)) if barrier in barriers(OURS) else binary
            what = noticed(mutant, Path(folder), barrier)
        survivors += what is None
        print(f"{barrier:24} {what or 'NOT NOTICED'}", flush=True)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
