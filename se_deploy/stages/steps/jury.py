"""Ways to quantize a network, told apart on images that were not measured: whole networks, never a tensor alone, which would overfit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from se_deploy.artifacts import TensorScale
from se_deploy.errors import QuantError
from se_deploy.graph import batchnorm
from se_deploy.graph.read import read
from se_deploy.images import Images
from se_deploy.quant import shifts, sites
from se_deploy.quant.place import place
from se_deploy.quant.repairs import Factors, watched
from se_deploy.quant.tally import Job
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.inputs import image_input
from se_deploy.stages.steps.repaired import candidates, equalised

#: Of so many images one is kept apart to judge by, at most MOST of them; fewer than LEAST say too little.
SHARE, MOST, LEAST = 8, 16, 4
#: Every image is judged with all activations' scales times each of these: which way values happen to be rounded is chance that all images
#: share, so that more of them would not help.
JITTER = (0.97, 1.0, 1.03)
#: What may stand behind the scores of a classifier; a Softmax hides how far off they are.
_BEHIND = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Softmax", "LogSoftmax", "Sigmoid")
_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid")
#: An error below this share of the signal is none.
NOTHING = 1e-20
#: How many standard errors a gain has to be from nothing.
SURE = 1.0

Array = NDArray[np.float64]
DB = Array


def held(paths: Sequence[Path]) -> list[Path]:
    """The images to keep apart, evenly spread; none where there are too few."""
    count = min(len(paths) // SHARE, MOST)
    return [paths[(2 * i + 1) * len(paths) // (2 * count)] for i in range(count)] if count >= LEAST else []


@dataclass(frozen=True)
class Jury:
    """The network with BatchNorm folded, giving what is judged; inputs, and what it answers to them in FP32.

    Judged are the scores, and what the last layer reads: many more numbers, whose error says the same with less chance in it.
    """

    model: ModelProto
    feeds: tuple[Mapping[str, NDArray[Any]], ...]
    wanted: tuple[list[Array], ...]

    def judge(self, factors: Factors, scales: Mapping[str, TensorScale], divided: Factors | None = None, shifted: Sequence[str] = ()) -> DB:
        """For each image the SQNR in dB, the mean of the judged tensors', with everything quantized.

        In the signed form; with `divided` in the unsigned one (`place`).
        """
        model = equalised(self.model, factors)
        return np.asarray(np.mean([self._judge(model, _jittered(scales, by), divided, shifted) for by in JITTER], axis=0))

    def _judge(self, model: ModelProto, scales: Mapping[str, TensorScale], divided: Factors | None, shifted: Sequence[str]) -> DB:
        quantized = ModelProto()
        quantized.CopyFrom(model)
        place(quantized, scales, signed=divided is None, divided=divided or {}, shifted=shifted)
        pairs = list(zip(self.wanted, _answers(quantized, self.feeds), strict=True))
        return np.asarray(np.mean([_sqnr([(want[i], got[i]) for want, got in pairs]) for i in range(len(self.wanted[0]))], axis=0))


def shiftable(jury: Jury, factors: Factors) -> tuple[str, ...]:
    """What can be shifted in the equalised network."""
    model = equalised(jury.model, factors)
    return tuple(shifts.find(model, sites.find(model)))


def of(source: Exported, job: Job, root: Path) -> Jury | None:
    """The jury of the images under `root` that a job keeps apart; None where there is nothing to judge or too few can be read."""
    if not job.held or not job.candidates:
        return None
    spec = image_input(source.manifest.inputs, job.preprocess, lambda takes: QuantError(f"{takes} are not images", "calibrate again"))
    rows = spec.shape[0] if isinstance(spec.shape[0], int) else 1  # a fixed batch is filled with the same image
    images = Images(root, [root / name for name in job.held], None).read(job.preprocess)
    feeds = tuple({spec.name: np.stack([pixels] * rows).astype(spec.dtype, copy=False)} for _, pixels in images)
    if len(feeds) < LEAST:
        return None
    model = batchnorm.folded(read(source.model))
    sites.name_nodes(model)
    _judged(model)
    return Jury(model, feeds, tuple(_answers(model, feeds)))


def _jittered(scales: Mapping[str, TensorScale], by: float) -> dict[str, TensorScale]:
    return {name: scale.model_copy(update={"scale": scale.scale * by}) for name, scale in scales.items()}


def _sqnr(pairs: Sequence[tuple[Array, Array]]) -> DB:
    """By image, of what is wanted and given; what all images have in common earns nothing."""
    wanted = [want for want, _ in pairs]
    alike = len({want.shape for want in wanted}) == 1
    centre = np.mean(wanted, axis=0) if alike else np.zeros(1)
    signal = np.mean([np.square(want - centre).sum() for want in wanted]) + np.finfo(np.float64).tiny
    errors = np.array([np.square(got - want).sum() if np.isfinite(got).all() else np.inf for want, got in pairs])
    return np.asarray(-10 * np.log10(np.clip(errors / signal, NOTHING, 1 / NOTHING)))


def better(before: DB, after: DB, least: float) -> bool:
    """Whether what images gain, in dB and on average, is at least `least` and surely more than nothing."""
    gain = after - before
    return bool(gain.mean() >= least and gain.mean() > SURE * gain.std() / math.sqrt(len(gain)))


def _judged(model: ModelProto) -> None:
    """Makes the scores before a closing Softmax, and what the last layer reads, the model's only outputs."""
    made = {name: node for node in model.graph.node for name in node.output}
    first = name = model.graph.output[0].name
    while name in made and made[name].op_type in _BEHIND:
        node = made[name]
        name = node.input[0]
        if node.op_type in _SQUASHING:
            first = name
            break
    layers, kept = sites.find(model).layers, watched(candidates(model))
    reads = {layers[-1].source} - {first, *kept, *(i.name for i in model.graph.input)} if layers else set()
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (first, *reads))


def _answers(model: ModelProto, feeds: Sequence[Mapping[str, NDArray[Any]]]) -> list[list[Array]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # so that the same images give the same bits
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [[np.asarray(answer, np.float64) for answer in session.run(None, dict(feed))] for feed in feeds]
