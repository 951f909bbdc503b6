"""Devices as CUDA describes them, and what the chooser makes of a node on one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_deploy import op
from tests.plugins.cases import ROADS, Device
from tests.plugins.layouts import LAYOUTS, TYPES

KIB, MIB = 1 << 10, 1 << 20
DEVICES = {
    "T4": Device(75, 40, 64 * KIB, 64 * KIB, 4 * MIB),
    "A100": Device(80, 108, 163 * KIB, 164 * KIB, 40 * MIB),
    "RTX 3090": Device(86, 82, 99 * KIB, 100 * KIB, 6 * MIB),
    "L4": Device(89, 58, 99 * KIB, 100 * KIB, 48 * MIB),
    "H100": Device(90, 132, 227 * KIB, 228 * KIB, 50 * MIB),
    "B200": Device(100, 148, 227 * KIB, 228 * KIB, 126 * MIB),
    "RTX 5090": Device(120, 170, 99 * KIB, 100 * KIB, 96 * MIB),
}


@dataclass(frozen=True)
class Node:
    """What the chooser looks at of a node."""

    dtype: str
    n: int
    c: int
    r: int
    hw: int
    layout: str = "linear"
    act: str = "relu"


def planned(binary: Path, asked: list[tuple[Node, Device]]) -> list[dict[str, Any]]:
    """Road, blocks, groups, shared, jobs and workspace of each."""
    lines = [
        " ".join(map(str, (
            TYPES.index(node.dtype), LAYOUTS.index(node.layout), op.ACTS.index(node.act), node.n, node.c, node.r, node.hw,
            d.sm, d.multiprocessors, d.shared_per_block, d.shared_per_multiprocessor, d.l2,
        )))
        for node, d in asked
    ]  # fmt: skip
    done = subprocess.run([binary, "--plans"], input="\n".join(lines), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked)
    return [answer | {"road": ROADS[answer["road"]]} for answer in answers]
