"""The demo's network: a small SE-ResNet, trained here on whatever class folders it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch

from se_deploy.artifacts import Progress, silent
from se_deploy.images import Images, decode
from se_deploy.networks.training import Schedule, fit, shifted

ARCH = "seresnet18"
SIZE = 32
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
EPOCHS, BATCH = 6, 64


def train(images: Images, checkpoint: Path, *, seed: int = 0, progress: Progress = silent) -> None:
    """Trains an SE-ResNet-18 (He et al., 2016, with Hu et al.'s blocks, r = 16, 8 of them) on 32x32 RGB images in class folders.

    Adam with a one-cycle schedule and random shifts of up to 2 pixels. Writes a checkpoint as a training script would: weights, and
    beside them the architecture's name, input size, mean, std and class names.
    """
    torch.manual_seed(seed)
    network = timm.create_model(ARCH, num_classes=len(images.classes or ()))
    pixels, labels = _tensors(images)
    fit(network, pixels, labels, Schedule(EPOCHS, BATCH, 2e-3, 0.1), shifted, progress, "train the demo network")
    torch.save(
        {
            "state_dict": network.state_dict(),
            "arch": ARCH,
            "input_size": [3, SIZE, SIZE],
            "mean": list(MEAN),
            "std": list(STD),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "class_names": list(images.classes or ()),
        },
        checkpoint,
    )


def _tensors(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """All images as (N, 3, 32, 32), normalised, and their classes."""
    pixels = np.stack([np.asarray(decode(path), np.float32) for path in images.paths]).transpose(0, 3, 1, 2)
    normalised = (torch.from_numpy(pixels) / 255 - MEAN[0]) / STD[0]
    return normalised, torch.tensor([images.class_of(path) for path in images.paths])
