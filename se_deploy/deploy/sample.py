"""A sample for each input of an engine, with which a server warms up: a picture where the input takes pictures, else seeded noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from se_deploy.artifacts import EngineManifest, InputSpec, Preprocess
from se_deploy.images import prepared_shape, preprocess

#: Of the picture from which the sample is made, in pixels; odd, and larger than what most networks take.
SIZE = (501, 375)


def samples(manifest: EngineManifest) -> dict[str, NDArray[np.generic]]:
    """One row of each input, without its batch where that is dynamic, in the sizes the engine is tuned for."""
    return {spec.name: _row(spec, manifest.preprocess, number) for number, spec in enumerate(manifest.inputs)}


def _row(spec: InputSpec, how: Preprocess, seed: int) -> NDArray[np.generic]:
    sizes: Sequence[int] = spec.opt[1:] if spec.shape and isinstance(spec.shape[0], str) else spec.opt
    if spec.dtype == "float32" and tuple(sizes[-3:]) == picture_shape(how):
        picture = preprocess(_picture("L" if how.color == "L" else "RGB"), how)
        return np.ascontiguousarray(np.broadcast_to(picture, tuple(sizes)))
    if np.dtype(spec.dtype).kind == "f":
        return np.asarray(np.random.default_rng(seed).standard_normal(tuple(sizes))).astype(spec.dtype)
    return np.ones(tuple(sizes), spec.dtype)


def _picture(mode: str) -> Image.Image:
    """Smooth colours: a plane wave in each channel."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    waves = [127.5 + 127.5 * np.sin(x / (17 + 9 * k) + y / (31 - 7 * k)) for k in range(3)]
    return Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)).convert(mode)


def picture_shape(how: Preprocess) -> tuple[int, int, int]:
    """(channels, height, width) that a preprocessing makes of this picture: of any, where it says the size."""
    return prepared_shape(how, *SIZE)
