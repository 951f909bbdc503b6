"""Probes: the same every time, different from one another, and what the preprocessing makes of 8-bit images."""

import numpy as np
import pytest

from se_deploy.artifacts import Preprocess
from se_deploy.images import preset
from se_deploy.verify.probes import COUNT, count_for, probes

HOW = preset("imagenet", 48, 40)


def test_the_same_every_time_and_all_different() -> None:
    made = probes(COUNT, (3, 48, 40), HOW)
    assert made.shape == (COUNT, 3, 48, 40)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, probes(COUNT, (3, 48, 40), HOW))
    assert (made != probes(COUNT, (3, 48, 40), HOW, seed=1)).mean() > 0.9
    assert len({round(float(image.mean()), 4) for image in made}) == COUNT


def test_several_contrasts_and_frequencies() -> None:
    made = probes(COUNT, (3, 64, 64), HOW).astype(np.float64)
    spread = made.std((1, 2, 3))
    assert spread.max() > 2 * spread.min()
    rough = np.abs(np.diff(made, axis=-1)).mean((1, 2, 3)) / spread
    assert rough.max() > 4 * rough.min()  # noise beside gradients


@pytest.mark.parametrize(("color", "channels"), [("RGB", 3), ("BGR", 3), ("L", 1)])
def test_pixels_are_bytes_before_scale_mean_and_std(color: str, channels: int) -> None:
    how = Preprocess(color=color, scale=0.5, mean=(7.0,) * channels, std=(2.0,) * channels, resize=999, crop=999)
    made = probes(4, (channels, 9, 17), how)
    assert made.shape == (4, channels, 9, 17)
    pixels = (made * 2 + 7) * 2
    assert np.array_equal(pixels, np.rint(pixels))
    assert pixels.min() >= 0
    assert pixels.max() <= 255


@pytest.mark.parametrize("size", [(3, 1, 1), (1, 1, 33), (3, 5, 2)])
def test_tiny_inputs(size: tuple[int, int, int]) -> None:
    how = preset("gray" if size[0] == 1 else "imagenet", *size[1:])
    assert np.isfinite(probes(4, size, how)).all()


@pytest.mark.parametrize(("batch", "count"), [(None, 8), (1, 8), (3, 9), (8, 8), (32, 32)])
def test_whole_batches(batch: int | None, count: int) -> None:
    assert count_for(batch) == count
