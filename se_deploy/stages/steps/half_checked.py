"""An FP16 graph's answers before it is built: rounded to FP16 node by node on the CPU, beside those of FP32."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from se_deploy import backends
from se_deploy.artifacts import Precision, Progress
from se_deploy.errors import BackendError
from se_deploy.graph.read import write
from se_deploy.graph.rounded import rounded
from se_deploy.graph.view import View
from se_deploy.images import spread
from se_deploy.quant.sensitivity import sqnr_db
from se_deploy.stages.steps import pictures
from se_deploy.stages.steps.exported import Exported
from se_deploy.verify.samples import Pictures

#: Images that answers are compared on, evenly spread.
IMAGES = 16
#: FP16 usually keeps 50 to 65 dB of a network's answers.
FEW_DB = 40.0

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Compared:
    """SQNR in dB, and a remark that says it."""

    sqnr_db: float
    note: str


def compare(model: ModelProto, precision: Precision, source: Exported, tried: Pictures, folder: Path, progress: Progress) -> Compared:
    """The signal over error of a graph's answers against the exported model's in FP32.

    Args:
        model: what the engine is built from; where its types are FP16, results are rounded.
        precision: for the remark.
        source: the exported model.
        tried: images, of which IMAGES are taken.
        folder: where trial files may lie.
        progress: called once.

    Returns:
        The least SQNR of the outputs, and a remark.

    Raises:
        BackendError: an answer is not finite; names the first tensor that is not.
    """
    progress("check the answers of the FP16 graph", 0, None)
    few = replace(tried, paths=spread(tried.paths, IMAGES))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "rounded.onnx"
        write(half := rounded(model), file)
        wanted, got = _answers(source.model, few), _answers(file, few)
        for name, values in got.items():
            if not np.isfinite(values).all():
                raise _refusal(name, wanted[name], half, few, file)
    found = min(_db(wanted[name], values) for name, values in got.items())
    count = len(few) - sum(str(path.relative_to(few.images.root)) in few.images.skipped for path in few.paths)
    what = "FP16" if precision == "fp16" else "INT8 with FP16 around it"
    said = f"{what}: {found:.1f} dB on {count} image(s)"
    if precision == "fp16" and found < FEW_DB:
        said += f", less than the {FEW_DB:.0f} dB that are usual; `se-deploy bisect` names where it is lost"
    return Compared(found, said)


def _answers(file: Path, few: Pictures) -> Tensors:
    """Every output."""
    with backends.get("onnxruntime").open(file) as runner:
        found = [answer for _, answer in pictures.answers(runner, few, chunks=few.chunks(pictures.least_batch(few)))]
    return {name: _joined([pictures.rows(answer[name]) for answer in found]) for name in found[0]}


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(images, values); all in one row where images of differing sizes have differing numbers of values."""
    if len({part.shape[1] for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([part.reshape(1, -1) for part in parts], axis=1)


def _db(wanted: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """What images have in common is no signal, unless they have everything in common."""
    if (wanted == wanted[0]).all():
        wanted, got = np.concatenate([wanted, -wanted]), np.concatenate([got, -got])
    return sqnr_db(wanted, got)


def _refusal(output: str, wanted: NDArray[np.float32], half: ModelProto, few: Pictures, file: Path) -> BackendError:
    if not np.isfinite(wanted).all():
        said = f"the model's output {output} is not finite in FP32 on these images"
        return BackendError(said, "check the checkpoint, and how the images are prepared")
    name = _first(half, few, file) or output
    return BackendError(f"in FP16 {name} is not finite on these images, in FP32 {output} is", "build with --fp32")


def _first(half: ModelProto, few: Pictures, file: Path) -> str | None:
    """The first tensor in the graph's order that is not finite, on the first image that has one."""
    view = View(half)
    names = [name for node in view.nodes for name in node.outputs if view.elem_type(name) == TensorProto.FLOAT and name not in view.outputs]
    half.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    write(half, file)
    with backends.get("onnxruntime").open(file) as runner:
        for feeds in pictures.feeds(few):
            answers = runner.run(feeds)
            found = next((name for name in names if not np.isfinite(answers[name]).all()), None)
            if found:
                return found.removesuffix("/exact")
    return None
