"""A MobileNetV3-small (Howard et al., 2019) trained on Fashion-MNIST, enlarged so that its five halvings leave something.

Kept in the user's cache by the hash of the recipe.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from benchmarks import fashion
from benchmarks.int8 import debian
from se_deploy.artifacts import Progress, silent
from se_deploy.networks.training import Schedule

ARCH = "mobilenetv3_small_100"


@dataclass(frozen=True)
class Recipe:
    """Adam with a one-cycle schedule, mirrored images; the first `images` of the 60,000 in an order a seed draws."""

    size: int = 56
    images: int = 60000
    epochs: int = 5
    batch: int = 128
    rate: float = 4e-3
    smoothing: float = 0.05
    seed: int = 0

    def checkpoint(self) -> Path:
        """Where its result is kept."""
        digest = hashlib.sha256(json.dumps([2, ARCH, asdict(self)], sort_keys=True).encode()).hexdigest()[:12]
        return debian.cache() / f"fashion-mobilenet-{digest}" / "mobilenetv3_fashion.pt"


def train(recipe: Recipe, *, progress: Progress = silent) -> Path:
    """The checkpoint of a recipe: from the cache, or trained now.

    Raises:
        LoadError: the data set is not installed.
    """
    wanted = fashion.Training(
        network=lambda: timm.create_model(ARCH, num_classes=len(fashion.CLASSES), in_chans=1),
        pixels=lambda images: torch.from_numpy(np.stack([_enlarged(image, recipe.size) for image in images])[:, None]),
        moved=_shown,
        how=Schedule(recipe.epochs, recipe.batch, recipe.rate, recipe.smoothing),
        images=recipe.images,
        size=recipe.size,
        seed=recipe.seed,
        arch=ARCH,
    )
    return fashion.trained(recipe.checkpoint(), wanted, progress)


def _enlarged(image: np.ndarray[tuple[int, int], np.dtype[np.uint8]], size: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _shown(batch: torch.Tensor) -> torch.Tensor:
    """8-bit pixels normalised, half the time mirrored."""
    pixels = (batch.float() / 255 - fashion.MEAN) / fashion.STD
    return pixels.flip(3) if int(torch.randint(0, 2, ())) else pixels
