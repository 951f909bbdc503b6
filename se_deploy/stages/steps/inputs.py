"""Whether a network takes images, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from se_deploy.artifacts import InputSpec, Preprocess
from se_deploy.errors import ImageError, SeDeployError
from se_deploy.images import check_channels


def image_input(inputs: Sequence[InputSpec], how: Preprocess, refused: Callable[[str], SeDeployError]) -> InputSpec:
    """The one image input, its channels checked against the preprocessing.

    Args:
        inputs: what the network takes.
        how: how its images are prepared.
        refused: the error, from what it takes instead of one batch of images (N, C, H, W).

    Raises:
        SeDeployError: what `refused` makes.
        ImageError: the network's channels are not those of the preprocessing.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise refused(", ".join(f"{i.name} {list(i.shape)}" for i in inputs))
    channels = inputs[0].shape[1]
    if isinstance(channels, int):
        check_channels(how, channels)
    return inputs[0]


def without_data(file: Path) -> Callable[[str], ImageError]:
    """The refusal of `--data` for a file that takes something else than images."""
    return lambda takes: ImageError(f"{file} takes {takes}, not one batch of images (N, C, H, W)", "leave --data out")
