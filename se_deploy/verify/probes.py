"""Inputs that make a network answer in many ways: on white noise alone, many a network says the same thing to everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from se_deploy.artifacts import Preprocess
from se_deploy.images import preprocess

#: Enough to differ in, few enough to run a large network on in seconds.
COUNT = 8

#: How fast strength falls with frequency, from noise (0) over photographs (1, as their amplitudes fall like 1/f) to plain gradients (2).
SLOPES = (1.0, 0.5, 1.5, 2.0, 0.0)
#: Standard deviation of the 8-bit values: pale, usual, saturated.
CONTRASTS = (50.0, 90.0, 25.0, 140.0)


def count_for(batch: int | None) -> int:
    """How many probes a network is asked: whole batches where its batch is fixed."""
    return COUNT if batch is None else -(-COUNT // batch) * batch


def probes(count: int, size: tuple[int, int, int], how: Preprocess, seed: int = 0) -> NDArray[np.float32]:
    """Images of fields with several frequencies, contrasts, brightnesses and colours, as the network's preprocessing makes inputs of them.

    Args:
        count: how many.
        size: (C, H, W) of the network's input.
        how: its colours, scale, mean and std are applied; images are made at the right size, so nothing is resized.
        seed: the same seed gives the same probes.

    Returns:
        float32 (count, C, H, W).
    """
    rng = np.random.default_rng(seed)
    plain = how.model_copy(update={"resize": None, "crop": None})
    made = [preprocess(_image(rng, size, SLOPES[i % len(SLOPES)], CONTRASTS[i % len(CONTRASTS)]), plain) for i in range(count)]
    return np.stack(made)


def _image(rng: np.random.Generator, size: tuple[int, int, int], slope: float, contrast: float) -> Image.Image:
    channels, height, width = size
    shared = _field(rng, height, width, slope)
    planes = [0.7 * shared + 0.5 * _field(rng, height, width, slope) for _ in range(channels)]
    tint = rng.uniform(60, 195, channels)
    pixels = np.stack([contrast * plane + level for plane, level in zip(planes, tint, strict=True)], axis=-1)
    pixels += rng.normal(0, 4, pixels.shape)  # what a sensor adds
    values = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return Image.fromarray(values[:, :, 0] if channels == 1 else values)


def _field(rng: np.random.Generator, height: int, width: int, slope: float) -> NDArray[np.float32]:
    """A field of mean about 0 and deviation 1: octaves of smooth noise, each 2^-slope as strong as the one below it."""
    total = np.zeros((height, width), np.float32)
    cells = 2
    while cells <= 2 * max(height, width):
        grid = rng.standard_normal((min(cells, height), min(cells, width)), dtype=np.float32)
        smooth = np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        total += smooth * np.float32(cells**-slope)
        cells *= 2
    return total / max(float(total.std()), 1e-6)
