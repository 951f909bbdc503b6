"""A small SE-ResNet trained on Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), the recipe of a network with labels that is no toy.

The images come with Debian's package dataset-fashion-mnist; nothing is fetched.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import LoadError
from se_deploy.files import replacing
from se_deploy.networks.training import Schedule, fit, shifted
from se_deploy.networks.zoo.resnet_cifar import ResNetCifar

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
#: Of the training images.
MEAN, STD = 0.286, 0.353
BATCH = 128


@dataclass(frozen=True)
class Recipe:
    """Adam with a one-cycle schedule, mirrored and shifted images; the first `images` of the 60,000 in an order a seed draws."""

    layers: tuple[int, int, int] = (2, 2, 2)
    images: int = 30000
    epochs: int = 3
    rate: float = 5e-3
    reduction: int = 4
    seed: int = 0

    def checkpoint(self) -> Path:
        """Where its result is kept: in the user's cache, by the hash of the recipe."""
        digest = hashlib.sha256(json.dumps([1, asdict(self)], sort_keys=True).encode()).hexdigest()[:12]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "se-deploy" / f"fashion-{digest}" / "se_resnet_fashion.pt"


def read(part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`train` or `t10k`: images (N, 28, 28) and classes (N,).

    Raises:
        LoadError: the data set is not installed.
    """
    arrays = []
    for kind, start in (("images-idx3", 16), ("labels-idx1", 8)):
        path = FOLDER / f"{part}-{kind}-ubyte.gz"
        if not path.is_file():
            raise LoadError(f"Fashion-MNIST is not at {FOLDER}", "apt-get install dataset-fashion-mnist")
        arrays.append(np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=start))
    return arrays[0].reshape(-1, 28, 28), arrays[1]


def draw(part: str, folder: Path, count: int | None = None) -> Path:
    """Writes the first images of a part as `folder/<class>/<number>.png`.

    Raises:
        LoadError: the data set is not installed.
    """
    images, labels = read(part)
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count or len(images)):
        Image.fromarray(images[number]).save(folder / CLASSES[labels[number]] / f"{number:05d}.png", compress_level=1)
    return folder


@dataclass(frozen=True)
class Training:
    """What differs between the networks trained on it: how one is made, how images (N, 28, 28) become its pixels, and how it sees them."""

    network: Callable[[], nn.Module]
    pixels: Callable[[NDArray[np.uint8]], torch.Tensor]
    moved: Callable[[torch.Tensor], torch.Tensor]
    how: Schedule
    images: int
    size: int
    seed: int
    arch: str | None = None


def trained(checkpoint: Path, wanted: Training, progress: Progress) -> Path:
    """The checkpoint as a training script writes it (weights, and what images look like): from the cache, or trained now.

    Raises:
        LoadError: the data set is not installed.
    """
    if checkpoint.is_file():
        return checkpoint
    torch.manual_seed(wanted.seed)
    network = wanted.network()
    images, labels = read("train")
    chosen = np.random.default_rng(wanted.seed).permutation(len(images))[: wanted.images]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that a recipe's weights do not depend on the number of cores
    try:
        classes = torch.from_numpy(labels[chosen].astype(np.int64))
        fit(network, wanted.pixels(images[chosen]), classes, wanted.how, wanted.moved, progress, "train on Fashion-MNIST")
    finally:
        torch.set_num_threads(threads)
    saved = {
        "state_dict": network.state_dict(),
        **({"arch": wanted.arch} if wanted.arch else {}),
        "input_size": [1, wanted.size, wanted.size],
        "mean": [MEAN],
        "std": [STD],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "class_names": list(CLASSES),
    }
    with replacing(checkpoint) as beside:
        torch.save(saved, beside)
    return checkpoint


def train(recipe: Recipe, *, progress: Progress = silent) -> Path:
    """The checkpoint of a recipe: from the cache, or trained now.

    Raises:
        LoadError: the data set is not installed.
    """
    wanted = Training(
        network=lambda: ResNetCifar(num_classes=len(CLASSES), in_chans=1, reduction=recipe.reduction, layers=recipe.layers),
        pixels=lambda images: (torch.from_numpy(images.astype(np.float32)) / 255 - MEAN)[:, None] / STD,
        moved=_moved,
        how=Schedule(recipe.epochs, BATCH, recipe.rate, 0.05),
        images=recipe.images,
        size=28,
        seed=recipe.seed,
    )
    return trained(recipe.checkpoint(), wanted, progress)


def _moved(batch: torch.Tensor) -> torch.Tensor:
    """The batch shifted by up to two pixels, half the time mirrored."""
    moved = shifted(batch)
    return moved.flip(3) if int(torch.randint(0, 2, ())) else moved
