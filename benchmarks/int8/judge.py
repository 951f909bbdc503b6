"""What a quantized file costs: its answers beside FP32's on the images that judge, both by ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import Preprocess
from se_deploy.graph.read import read, write
from se_deploy.images import find_images
from se_deploy.quant.sensitivity import sqnr_db
from se_deploy.verify.classes import UNDECIDED, margins

BATCH = 8
#: What may stand between a Softmax and the network's output.
_PASSED = {"QuantizeLinear", "DequantizeLinear", "Identity", "Reshape", "Cast", "Flatten"}

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """Of all images: what the network gives, (images, classes), and the same before its Softmax."""

    given: Scores
    logits: Scores


@dataclass(frozen=True)
class Figures:
    """Percent of all images, of those on which FP32 is decided, and dB of the logits."""

    top1: float
    agreement: float
    agreement_decided: float
    sqnr_db: float


class Judge:
    """The images of a network, and what FP32 answers to them."""

    def __init__(self, exported: Path, folder: Path, work: Path) -> None:
        manifest = json.loads((exported / "manifest.json").read_text())
        self.plain, self.work = exported / "plain.onnx", work
        self.how, self.input = Preprocess(**manifest["preprocess"]), manifest["inputs"][0]["name"]
        self.images = find_images(folder)
        self.size = tuple(manifest["inputs"][0]["shape"][1:])
        names = manifest["labels"] or self.images.classes or ()
        self.labels = np.array([names.index(path.relative_to(folder).parts[0]) for path in self.images.paths])

    @cached_property
    def prepared(self) -> NDArray[np.float32]:
        """All images, (N, C, H, W), in a file."""
        shape = (len(self.images.paths), *self.size)
        kept = np.lib.format.open_memmap(self.work / "prepared.npy", "w+", np.float32, shape)
        for place, (_, pixels) in enumerate(self.images.read(self.how, workers=2)):
            kept[place] = pixels
        return kept

    @cached_property
    def reference(self) -> Answers:
        """FP32's answers."""
        return self.answers(self.plain)

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """Whether FP32 hesitates, by image, as `bench` counts it."""
        hesitates: NDArray[np.bool_] = margins(self.reference.logits.astype(np.float64)) < UNDECIDED
        return hesitates

    @property
    def top1(self) -> float:
        """FP32's, in percent."""
        return 100 * float((self.reference.given.argmax(1) == self.labels).mean())

    def answers(self, file: Path) -> Answers:
        """What a file answers to every image."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            opened = Path(name) / "model.onnx"
            given, logits = _with_logits(file, opened)
            with backends.get("onnxruntime").open(opened) as runner:
                batches = [runner.run({self.input: images}) for images in self._batches()]
        return Answers(
            *(np.concatenate([batch[output].reshape(len(batch[output]), -1) for batch in batches]) for output in (given, logits))
        )

    def figures(self, file: Path) -> Figures:
        """A quantized file's."""
        got, wanted = self.answers(file), self.reference
        best, same = got.given.argmax(1), got.given.argmax(1) == wanted.given.argmax(1)
        shares = (best == self.labels, same, same[~self.undecided])
        top1, agreement, decided = (100 * float(share.mean()) for share in shares)
        return Figures(top1, agreement, decided, sqnr_db(wanted.logits, got.logits))

    def _batches(self) -> Iterator[NDArray[np.float32]]:
        return (np.asarray(self.prepared[start : start + BATCH]) for start in range(0, len(self.prepared), BATCH))


def _with_logits(file: Path, out: Path) -> tuple[str, str]:
    """Writes the file with what goes into its last Softmax as another output; the names of both (the same where there is no Softmax)."""
    model = read(file)
    given = model.graph.output[0].name
    logits = _before_softmax(model, given)
    if logits is not None:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(logits))
    write(model, out)
    return given, logits or given


def _before_softmax(model: ModelProto, name: str) -> str | None:
    made = {output: node for node in model.graph.node for output in node.output}
    while name in made and made[name].op_type in _PASSED:
        name = made[name].input[0]
    return made[name].input[0] if name in made and made[name].op_type == "Softmax" else None
