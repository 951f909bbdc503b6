"""Cases of the kernels: drawn from a seed, run by plugins/tests/run_cases.cpp, compared with se_deploy.op.reference."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from se_deploy import op
from tests.plugins import layouts

ROADS = ("split", "cluster", "persistent")


@dataclass(frozen=True)
class Device:
    """A device of the chooser's mind; a small one, so that a small case has more work than the device holds at once."""

    sm: int = 80
    multiprocessors: int = 2
    shared_per_block: int = 99 * 1024
    shared_per_multiprocessor: int = 100 * 1024
    l2: int = 1 << 20


#: By road: a device small enough that blocks have several jobs, and images several blocks.
DEVICES = {
    "split": Device(),
    "cluster": Device(sm=90, multiprocessors=8, shared_per_block=100 * 1024, shared_per_multiprocessor=120 * 1024),
    "persistent": Device(sm=80, multiprocessors=5),
}


@dataclass(frozen=True)
class Case:
    """One node on one device. `seed` draws the data, `schedule` the order in which the CPU runs threads."""

    dtype: str = "float32"
    layout: str = "linear"
    act: str = "relu"
    gate: str = "sigmoid"
    skip: str = "none"
    epilogue: str = "none"
    n: int = 1
    c: int = 8
    r: int = 4
    hw: int = 49
    seed: int = 0
    schedule: int = 0
    road: str | None = None
    counted: bool = False  # bytes moved are counted
    before: int = 0  # images before the n that are given, computed and checked; the tensor is never whole in memory
    device: Device = field(default_factory=Device)

    def on(self, road: str) -> Case:
        """The case on a road, on that road's device; L2 holds one to four images of the persistent road, two of some split ones."""
        device = DEVICES[road]
        if road == "split" and self.seed % 3 == 0:
            device = replace(device, l2=4 * self.image_bytes)
        if road == "persistent":
            device = replace(device, l2=(2, 3, 6)[self.seed % 3] * self.image_bytes)
        return replace(self, road=road, device=device)

    @property
    def image_bytes(self) -> int:
        """Of x, one image, padding included."""
        atom = layouts.ATOMS[self.layout]
        return -(-self.c // atom) * atom * self.hw * layouts.SIZES[self.dtype]

    @property
    def variant(self) -> op.Variant:
        return op.Variant(self.act, self.gate, self.skip, self.epilogue, int8=self.dtype == "int8")

    @property
    def columns(self) -> int:
        return self.c if self.act == "none" else self.r

    @property
    def attributes(self) -> dict[str, float]:
        rng = np.random.default_rng(self.seed + 1)
        ranges = {"alpha": (0.1, 0.9), "beta": (-0.3, 0.6), "leak": (0.05, 0.3)}
        return {name: float(np.float32(rng.uniform(*ranges.get(name, (0.01, 0.06))))) for name in self.variant.attributes}


def inputs_of(case: Case) -> dict[str, np.ndarray]:
    """Inputs by name, x and the residual as (N, C, HW) in stored form; means away from zero, so that a wrong mean is seen."""
    rng = np.random.default_rng(case.seed)

    def tensor() -> np.ndarray:
        shape = (case.n, case.c, case.hw)
        if case.dtype == "int8":
            return np.clip(rng.integers(-128, 128, shape) + rng.integers(-60, 60, (case.n, case.c, 1)), -128, 127).astype(np.int8)
        return layouts.stored(rng.standard_normal(shape) + 2 * rng.standard_normal((case.n, case.c, 1)), case.dtype)

    sizes = {"w1": (case.r, case.c), "b1": (case.r,), "w2": (case.c, case.columns), "b2": (case.c,), "slope": (case.r,)}
    columns = {"w1": case.c, "w2": case.columns}
    return {
        name: tensor() if name in ("x", "residual")
        else (rng.standard_normal(sizes[name]) / np.sqrt(columns.get(name, 1))).astype(np.float32)
        for name in case.variant.inputs
    }  # fmt: skip


def write(case: Case, inputs: dict[str, np.ndarray], path: Path) -> None:
    """The file that run_cases reads. Padded channels hold NaN (int8: 77), which must not matter."""
    a, d = case.attributes, case.device
    road = -1 if case.road is None else ROADS.index(case.road)
    words = (
        layouts.TYPES.index(case.dtype), layouts.LAYOUTS.index(case.layout), op.ACTS.index(case.act), op.GATES.index(case.gate),
        op.SKIPS.index(case.skip), op.EPILOGUES.index(case.epilogue), road, d.sm, d.multiprocessors, int(case.counted),
    )  # fmt: skip
    r = 0 if case.act == "none" else case.r
    longs = (
        case.before + case.n,
        case.c,
        r,
        case.hw,
        case.schedule,
        case.n if case.before else 0,
        d.shared_per_block,
        d.shared_per_multiprocessor,
        d.l2,
    )
    reals = [a.get(k, np.nan) for k in ("alpha", "beta", "leak", "x_scale", "residual_scale", "y_scale")]
    padding = {"int8": 77, "bfloat16": 0x7FC0}.get(case.dtype, np.nan)
    with path.open("wb") as file:
        file.write(struct.pack("<10i9q6f", *words, *longs, *reals))
        for name in ("x", "residual", "w1", "b1", "w2", "b2", "slope"):
            if name in inputs:
                array = inputs[name]
                file.write((layouts.pack(array, case.layout, padding) if name in ("x", "residual") else array).tobytes())


def check(case: Case, inputs: dict[str, np.ndarray], raw: bytes) -> None:
    """Raises AssertionError unless y is the reference's real value, rounded once.

    What is allowed beside the one rounding of y's type is what FP32 sums in another order cost: 2e-5 of the values added.
    """
    stored = np.uint16 if case.dtype == "bfloat16" else np.dtype(case.dtype)
    y, padding = layouts.unpack(np.frombuffer(raw, stored), case.layout, case.n, case.c, case.hw)
    assert not padding.any(), f"{case}: padded channels of y are not zero"
    scales = {k: case.attributes.get(f"{k}_scale", 1.0) for k in ("x", "residual", "y")}
    real = {k: layouts.floats(v, case.dtype) * np.float32(scales[k]) if k in ("x", "residual") else v for k, v in inputs.items()}
    expected = op.reference(replace(case.variant, int8=False), real, case.attributes).astype(np.float64)
    added = 1 + np.abs(real["x"]) + np.abs(real.get("residual", 0))
    allowed = 2e-5 * added
    got = layouts.floats(y, case.dtype).astype(np.float64)
    if case.dtype == "int8":
        expected, allowed = np.clip(expected / scales["y"], -128, 127), allowed / scales["y"] + 0.5
    elif case.dtype != "float32":
        bits, least = (11, 2.0**-25) if case.dtype == "float16" else (8, 0.0)
        allowed = allowed + np.maximum(np.abs(expected) * 2.0**-bits, least)
    wrong = ~(np.abs(got - expected) <= allowed)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{case}: {wrong.sum()} of {wrong.size} elements; y{list(at)} is {got[at]}, not {expected[at]}")


def run(binary: Path, cases: list[Case], folder: Path, **environment: str) -> list[dict[str, Any]]:
    """Runs cases in one process and checks each; what the program said of each is returned, the barriers reached in the last one."""
    drawn = [inputs_of(case) for case in cases]
    paths = [folder / f"{number}.case" for number in range(len(cases))]
    for case, inputs, path in zip(cases, drawn, paths, strict=True):
        write(case, inputs, path)
    done = subprocess.run([binary, *paths], capture_output=True, text=True, env=environment, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for case, inputs, path, line in zip(cases, drawn, paths, lines, strict=False):
        assert line["status"] == 0, f"{case}: CUDA error {line['status']}"
        check(case, inputs, Path(f"{path}.y").read_bytes())
    assert done.returncode == 0, f"{cases[min(len(lines), len(cases) - 1)]}: exit {done.returncode}\n{done.stderr[-3000:]}"
    assert len(lines) == len(cases)
    lines[-1]["barriers"] = [line.removeprefix("barrier ") for line in done.stdout.splitlines() if line.startswith("barrier ")]
    return lines
