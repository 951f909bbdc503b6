"""The table's rows: how each quantized file is made. Every quantizer runs in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.int8 import ablations
from benchmarks.int8.peers import environments

REPOSITORY = Path(__file__).parents[2]
Group = Literal["peer", "ours", "ablation"]


class Failed(Exception):
    """A quantizer that ended with an error; its last line."""


@dataclass(frozen=True)
class Case:
    """A network, exported, the images that calibrate, those that judge a bound (other ones), and where files may lie."""

    exported: Path
    calib: Path
    apart: Path | None
    work: Path


@dataclass(frozen=True)
class Made:
    """A quantized file; seconds of decoding, calibrating and choosing; peak memory; the whole process's CPU seconds; remarks."""

    file: Path
    seconds: float
    peak_mb: float
    cpu_seconds: float
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """`only`: the networks that have it; None for all."""

    name: str
    group: Group
    make: Callable[[Case], Made]
    only: tuple[str, ...] | None = None


def rows() -> tuple[Row, ...]:
    """All, in the table's order."""
    peers = (
        *(_peer(f"ONNX Runtime, {method}", "nncf", "onnxruntime", method) for method in ("minmax", "entropy", "percentile")),
        *(_peer(f"ModelOpt, {method}", "modelopt", "modelopt", method) for method in ("max", "entropy")),
        _peer("NNCF, mixed (asymmetric)", "nncf", "nncf", "mixed"),
        _peer("NNCF, performance (symmetric)", "nncf", "nncf", "performance"),
    )
    ours = (
        Row("ours, signed (TensorRT, OpenVINO)", "ours", lambda case: _built(case, "auto", "openvino")),
        Row("ours, unsigned (ONNX Runtime)", "ours", lambda case: _built(case, "auto", "onnxruntime")),
        Row("ours, signed, `--min-agreement 99`", "ours", _bounded, only=("cls",)),
    )
    methods = (Row(f"signed, `--method {name}`", "ablation", _by(name)) for name in ("minmax", "percentile", "entropy", "mse"))
    placed = (
        Row("signed, SE blocks in INT8", "ablation", lambda case: _placed(case, ablations.integer_blocks)),
        Row("signed, first and last layer in float", "ablation", lambda case: _placed(case, ablations.ends_in_float)),
    )
    return (*peers, *ours, *methods, *placed)


def _peer(name: str, environment: str, quantizer: str, method: str) -> Row:
    def make(case: Case) -> Made:
        out = case.work / f"{quantizer}-{method}.onnx"
        words = (quantizer, method, str(case.exported / "manifest.json"), str(case.calib), str(out))
        said = _run([str(environments.python(environment)), "-m", "benchmarks.int8.peers.quantize", *words])
        return Made(out, said["seconds"], said["peak_mb"], said["cpu_seconds"])

    return Row(name, "peer", make)


def _by(method: str) -> Callable[[Case], Made]:
    return lambda case: _built(case, method, "openvino")


def _calibrated(case: Case, method: str) -> tuple[Path, dict[str, Any]]:
    """The scales of a method, measured once, and what `calibrate` said of them."""
    scales, said = case.work / f"{method}.json", case.work / f"{method}.said.json"
    if not said.is_file():
        words = ("calibrate", str(case.exported), "--calib", str(case.calib), "--method", method, "-o", str(scales))
        said.write_text(json.dumps(_se_deploy(*words)))
    told: dict[str, Any] = json.loads(said.read_text())
    return scales, told


def _built(case: Case, method: str, backend: str) -> Made:
    scales, said = _calibrated(case, method)
    out = case.work / f"{backend}-{method}.onnx"
    _se_deploy("build", str(case.exported), "--int8", "--scales", str(scales), "--backend", backend, "-o", str(out), "--force")
    return Made(out, said["seconds"], said["peak_rss_mb"], said["cpu_seconds"], _repairs(scales))


def _repairs(scales: Path) -> str:
    """What `calibrate` found worth repairing."""
    tried = (json.loads(scales.read_text()).get("repairs") or {}).get("tried", ())
    taken = [one["repair"] for one in tried if one["taken"]]
    return f"repairs: {', '.join(taken)}" if taken else ""


def _bounded(case: Case) -> Made:
    out = case.work / "bounded.onnx"
    words = ("--int8", "--calib", str(case.calib), "--data", str(case.apart), "--min-agreement", "99", "--backend", "openvino")
    said = _se_deploy("build", str(case.exported), *words, "-o", str(out), "--force")
    remark = f"{len(said['fallback'])} layers in float; seconds and MB are the whole build's"
    return Made(out, said["seconds"], said["peak_rss_mb"], said["cpu_seconds"], remark)


def _placed(case: Case, place: Callable[[Path, Path, Path], None]) -> Made:
    scales, said = _calibrated(case, "auto")
    out = case.work / f"{place.__name__}.onnx"
    place(case.exported / "model.onnx", scales, out)
    return Made(out, said["seconds"], said["peak_rss_mb"], said["cpu_seconds"])


def _se_deploy(*words: str) -> dict[str, Any]:
    return _run([sys.executable, "-m", "se_deploy", *words, "--json"])


def _run(command: Sequence[str]) -> dict[str, Any]:
    """The JSON object on a program's last line, and `cpu_seconds`: what the program took of all cores, from its start.

    Raises:
        Failed: it did not end well.
    """
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    before = _cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said | {"cpu_seconds": _cpu_seconds() - before}


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
