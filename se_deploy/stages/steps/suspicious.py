"""Remarks on images that are not prepared as in the network's training: not normalised, BGR for RGB, one channel for three."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from se_deploy import backends
from se_deploy.artifacts import Preprocess
from se_deploy.backends import Runner
from se_deploy.errors import ImageError
from se_deploy.graph.read import read, write
from se_deploy.images import decode, find_images, preprocess, spread
from se_deploy.quant.suspicion import Moments, Stem, distance, others, stem
from se_deploy.stages.steps.exported import Exported

Array = NDArray[np.float32]

#: Images that are looked at, evenly spread.
LOOKED_AT = 32
#: Right images are within this divergence of the training's, as a rule.
FAR = 0.3
#: Another preparation has to be so many times nearer, before it is named.
NEARER = 2.0
#: Two mistakes at once have to be so many times nearer than one.
TWO_FAULTS = 1.5
#: Beyond this divergence the images are strange however they are prepared.
STRANGE = 3.0
#: Where nothing is known of the training: a BatchNorm gives values near 1, and pixels that are not normalised a hundred times that.
LOUD = 30.0


@dataclass
class _Seen:
    """What the first convolution gives under each preparation, and whether all images are grey."""

    by: dict[Preprocess, Moments] = field(default_factory=dict)
    images: int = 0
    grey: bool = True


def remarks(source: Exported, folder: str | Path) -> list[str]:
    """A warning where the images under `folder`, prepared as the manifest says, look wrong to the network; empty where they do not, or
    where the graph does not begin with a convolution."""
    weights = source.manifest.weights
    beginning = stem(read(source.model), _statistics(source.folder / weights.file) if weights else {})
    if beginning is None or len(source.manifest.inputs) != 1:
        return []
    seen = _look(source, beginning, Path(folder))
    if not seen.images:
        return []
    return _judged(source.manifest.preprocess, beginning, seen)


def _statistics(file: Path) -> Mapping[str, Array]:
    """The convolutions' weights and BatchNorms' tensors that a first layer may have; read without torch, the rest left on disk."""
    found: dict[str, Array] = {}
    if not file.is_file():
        return found
    with safe_open(file, framework="np") as tensors:
        for name in list(tensors.keys()):
            shape = tensors.get_slice(name).get_shape()
            if len(shape) == 1 or (len(shape) == 4 and shape[1] <= 4):
                found[name] = tensors.get_tensor(name)
    return found


def _look(source: Exported, beginning: Stem, folder: Path) -> _Seen:
    how, seen, few = source.manifest.preprocess, _Seen(), spread(find_images(folder).paths, LOOKED_AT)
    ways = [how] if beginning.mean is None else [how, *(way for _, _, way in others(how))]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "stem.onnx"
        write(beginning.model, file)
        with backends.get("onnxruntime").open(file) as runner:
            for path in few:
                try:
                    image = decode(path, how.color)
                except ImageError:  # counted and named where the scales are measured
                    continue
                pixels = np.asarray(image)
                seen.grey &= pixels.ndim == 3 and bool((pixels == pixels[:, :, :1]).all())
                seen.images += 1
                for way in ways:
                    seen.by.setdefault(way, Moments()).add(_answer(runner, source, preprocess(image, way)))
    return seen


def _answer(runner: Runner, source: Exported, pixels: Array) -> Array:
    spec = source.manifest.inputs[0]
    count = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    batch = np.repeat(pixels[None], count, axis=0).astype(spec.dtype)
    return next(iter(runner.run({spec.name: batch}).values()))


def _judged(how: Preprocess, beginning: Stem, seen: _Seen) -> list[str]:
    if beginning.mean is None or beginning.std is None:
        loud = float(np.median(np.hypot(seen.by[how].mean(), seen.by[how].std())))
        said = f"the images may not be normalised: the first convolution gives values around {loud:.0f}, where training leaves them near 1"
        return [f"{said}; check scale, mean and std at export"] if loud > LOUD else []
    far = {way: distance(moments, beginning.mean, beginning.std) for way, moments in seen.by.items()}
    if far[how] <= FAR:
        return []
    where = f"the first layer's statistics are {far[how]:.2g} from its BatchNorm's on {seen.images} images (right ones: below {FAR:g})"
    wrong, fits, best = min(others(how), key=lambda other: far[other[2]] * (TWO_FAULTS if ", and " in other[0] else 1))
    if far[best] * NEARER <= far[how]:
        return [f"preprocessing looks wrong, {wrong}: {where}, and {far[best]:.2g} with {fits}; export with the right preprocessing"]
    if seen.grey:
        return [f"the images are grey, one channel for three: {where}; give images in colour as in training"]
    if far[how] > STRANGE:
        return [f"the images are unlike those of the training: {where}; check them and the preprocessing at export"]
    return []
