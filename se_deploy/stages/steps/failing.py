"""`bisect --save DIR`: the piece that fails, its inputs, and a script that shows it by plain ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx.external_data_helper import load_external_data_for_model

from se_deploy.errors import ArtifactError
from se_deploy.files import replacing_directory
from se_deploy.graph.cut import cut
from se_deploy.graph.read import write
from se_deploy.graph.segments import Segment, regrown
from se_deploy.stages.steps.bisecting import Bench, Tensors, fed
from se_deploy.verify.bisection import Gap

ENGINE, REFERENCE, INPUTS, SCRIPT = "engine.onnx", "reference.onnx", "inputs.npz", "reproduce.py"


def check(folder: Path) -> None:
    """Refuses a place that holds something else than such a piece.

    Raises:
        ArtifactError: names what is there.
    """
    if folder.is_file():
        raise ArtifactError(f"{folder} is a file", "name a folder with --save")
    strangers = [path.name for path in folder.iterdir() if path.name not in (ENGINE, REFERENCE, INPUTS, SCRIPT)] if folder.is_dir() else []
    if strangers:
        raise ArtifactError(f"{folder} holds something else: {strangers[0]}", "name another folder with --save")


def save(bench: Bench, segment: Segment, folder: Path, tolerance: float) -> tuple[str, ...]:
    """Writes the segment of engine and plain graph, with the reference's tensors of the image on which they differ most.

    Where the segment does not fail by itself, the ones before it are taken along until it does.

    Returns:
        Remarks.

    Raises:
        ArtifactError: it cannot be written, or holds something else.
    """
    check(folder)
    segment, feeds, error = _failing(bench, segment, tolerance)
    with replacing_directory(folder, manifest=SCRIPT) as beside:
        for view, part, name in ((bench.engine, segment.engine, ENGINE), (bench.plain, segment.reference, REFERENCE)):
            model = cut(view, part, [segment.output])
            load_external_data_for_model(model, str(bench.folder))
            write(model, beside / name)
        np.savez(beside / INPUTS, allow_pickle=False, **feeds)
        (beside / SCRIPT).write_text(_script(segment, tolerance), encoding="utf-8")
    if error > tolerance:
        return ()
    return ("ONNX Runtime alone does not show it: what was saved is everything before that place, and it agrees with the reference",)


def _failing(bench: Bench, segment: Segment, tolerance: float) -> tuple[Segment, Tensors, float]:
    """The segment, grown backwards until it fails or begins at the network's inputs; with its worst inputs and their error."""
    shared = {known.output for known in bench.segments}
    while True:
        feeds, error = _worst(bench, segment)
        before = shared & {*segment.engine.inputs, *segment.reference.inputs}
        if error > tolerance or not before:
            return segment, feeds, error
        shared -= before
        segment = regrown(segment, bench.engine, bench.plain, shared)


def _worst(bench: Bench, segment: Segment) -> tuple[Tensors, float]:
    """The inputs of the image with the largest error: `engine.NAME` and `reference.NAME`, each in the type that is read."""
    names = sorted({*segment.engine.inputs, *segment.reference.inputs})
    worst, chosen = -1.0, Tensors()
    with bench.opened(cut(bench.engine, segment.engine, [segment.output])) as runner:
        for wanted in bench.reference([*names, segment.output]):
            feeds, gap = fed(runner, wanted), Gap()
            gap.add(runner.run(feeds)[segment.output], wanted[segment.output])
            if gap.relative > worst:
                worst = gap.relative
                ours = {f"engine.{name}": value for name, value in feeds.items()}
                chosen = {**ours, **{f"reference.{name}": wanted[name] for name in segment.reference.inputs}}
    return chosen, worst


def _script(segment: Segment, tolerance: float) -> str:
    return f'''"""Shows that {segment.name} of an engine is not what the reference has there: python {SCRIPT}. Needs onnxruntime alone.

Exits with 1 where the difference shows, with 0 where it does not.
"""

import pathlib
import sys

import numpy as np
import onnxruntime as ort

HERE = pathlib.Path(__file__).parent
TENSOR, TOLERANCE = {segment.output!r}, {tolerance!r}


def run(name):
    """What one of the two files makes of its inputs."""
    with np.load(HERE / "{INPUTS}") as arrays:
        feeds = {{key.partition(".")[2]: arrays[key] for key in arrays.files if key.startswith(name + ".")}}
    session = ort.InferenceSession(str(HERE / (name + ".onnx")), providers=["CPUExecutionProvider"])
    return session.run([TENSOR], feeds)[0].astype(np.float64)


got, wanted = run("engine"), run("reference")
error = np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1.0)
verdict = "agrees" if error <= TOLERANCE else "DIFFERS"
largest = np.abs(got - wanted).max()
print(f"{{TENSOR}} {{verdict}}: |error| / |reference| = {{error:.3g}}, tolerance {{TOLERANCE:g}}, largest error {{largest:.3g}}")
sys.exit(verdict == "DIFFERS")
'''
