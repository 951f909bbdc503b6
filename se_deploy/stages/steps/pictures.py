"""A folder of images as a model directory's network takes them, with its folders as classes, whatever the network's are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.backends import Runner
from se_deploy.images import Images, find_images
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.inputs import image_input, without_data
from se_deploy.verify.rows import in_batches
from se_deploy.verify.samples import Chunk, Pictures

Tensors = dict[str, NDArray[Any]]

#: Images that go through a network at once where its batch is dynamic.
BATCH = 8


def pictures(source: Exported, data: str | Path) -> Pictures:
    """The images under `data`, every one of them.

    Raises:
        ImageError: there is none, or the network does not take one batch of images with these colours.
    """
    manifest = source.manifest
    spec = image_input(manifest.inputs, manifest.preprocess, without_data(source.model))
    images = find_images(Path(data))
    return Pictures(images, images.paths, labels_of(images), spec, manifest.preprocess)


def labels_of(images: Images) -> dict[Path, int]:
    """The class folder of every image, by its place in `classes_of`."""
    return {path: images.class_of(path) if images.classes else 0 for path in images.paths}


def classes_of(images: Images) -> tuple[str, ...]:
    """The class folders, or "all" where there are none."""
    return images.classes or ("all",)


def batch_of(tried: Pictures) -> int:
    """How many images go through the network at once."""
    fixed = tried.spec.shape[0]
    return fixed if isinstance(fixed, int) else BATCH


def least_batch(tried: Pictures) -> int:
    """How few images the network takes at once."""
    fixed = tried.spec.shape[0]
    return fixed if isinstance(fixed, int) else 1


def answers(
    runner: Runner, tried: Pictures, extra: Mapping[str, NDArray[Any]] | None = None, chunks: Iterable[Chunk] | None = None
) -> Iterator[tuple[Chunk, Tensors]]:
    """Every image once, in batches that the network takes, with what it answers.

    Args:
        runner: the network.
        tried: the images.
        extra: inputs that are no batch.
        chunks: the images as they were prepared before, so that they need not be again.
    """
    fixed, more = tried.spec.shape[0], dict(extra or {})

    def run(feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        return runner.run({**feeds, **more})

    for chunk in tried.chunks(batch_of(tried)) if chunks is None else chunks:
        yield chunk, in_batches(run, chunk.feeds, fixed, "the network") if isinstance(fixed, int) else run(chunk.feeds)


def feeds(tried: Pictures) -> Iterator[Tensors]:
    """What a network is given, one image at a time, or as many as a fixed batch has; the last image fills it up."""
    size = least_batch(tried)
    for chunk in tried.chunks(size):
        values = chunk.feeds[tried.spec.name]
        yield {tried.spec.name: np.concatenate([values, *[values[-1:]] * (size - len(values))])}


def rows(value: NDArray[Any]) -> NDArray[np.float32]:
    """(N, C, 1, ...) or (N, C) as (N, C)."""
    return np.asarray(value, np.float32).reshape(len(value), -1)
