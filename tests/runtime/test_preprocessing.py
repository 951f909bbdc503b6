"""The loader's preprocessing against Pillow's and NumPy's: bit for bit, on photographs and on noise, in every way a manifest can say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from se_deploy.artifacts import Preprocess
from se_deploy.backends.cpp import Loaded
from se_deploy.images import preprocess
from tests.runtime import identity
from tests.stages import exports

Prepare = Callable[[np.ndarray, Preprocess, int], np.ndarray]
WAYS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
PLAIN = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def prepare(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    folder = tmp_path_factory.mktemp("identity")
    count = iter(range(100_000))

    def made(pixels: np.ndarray, how: Preprocess, orientation: int = 1) -> np.ndarray:
        path = identity.engine(folder / str(next(count)), how)
        manifest = exports.manifest_of(path)
        with Loaded(library, path, manifest.inputs, manifest.outputs, threads=1) as loader:
            return loader.preprocess(pixels, orientation)

    return made


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Two photographs, at sizes that are odd, narrow, wide, small."""
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    boxes = [(0, 0, 640, 427), (3, 5, 402, 300), (100, 17, 131, 404), (7, 200, 638, 233), (50, 50, 67, 63), (9, 9, 10, 10)]
    return [image.crop(box) for image in whole for box in boxes]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resize", [224, 37, (97, 131), 640, None])
def test_photographs_become_the_very_same_numbers(prepare: Prepare, photographs: list[Image.Image], way: str, resize: object) -> None:
    how = Preprocess(resize=resize, crop=None, interpolation=way, **PLAIN)
    for image in photographs:
        if resize == 640 and max(image.size) > 15 * min(image.size):
            continue  # 12,000 pixels long
        assert np.array_equal(prepare(np.asarray(image), how, 1), preprocess(image, how)), image.size


@pytest.mark.parametrize("crop", [224, (33, 301), (1, 1), 500, (800, 20)])
def test_crops_are_cut_and_padded_the_same(prepare: Prepare, photographs: list[Image.Image], crop: object) -> None:
    for image in photographs:
        for resize in (None, (223, 225)):
            how = Preprocess(resize=resize, crop=crop, **PLAIN)
            assert np.array_equal(prepare(np.asarray(image), how, 1), preprocess(image, how)), image.size


@pytest.mark.parametrize(
    "how",
    [
        Preprocess(resize=64, crop=60, color="BGR", scale=1.0, mean=(91.4953, 103.8827, 131.0912), std=(1.0, 1.0, 1.0)),
        Preprocess(resize=64, crop=60, color="L", mean=(0.5,), std=(0.5,)),
        Preprocess(resize=64, crop=60, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        Preprocess(resize=64, crop=60, mean=(0.1, 0.2, 0.3), std=(1e-3, 3.0, 7e5), scale=2.5),
    ],
    ids=["bgr", "grey", "zero-one", "odd"],
)
def test_colours_scales_means_and_stds_are_the_same(prepare: Prepare, photographs: list[Image.Image], how: Preprocess) -> None:
    for image in photographs:
        converted = image.convert("L") if how.color == "L" else image
        assert np.array_equal(prepare(np.asarray(image), how, 1), preprocess(converted, how)), image.size
        grey = image.convert("L")
        assert np.array_equal(prepare(np.asarray(grey), how, 1), preprocess(grey if how.color == "L" else grey.convert("RGB"), how))


@pytest.mark.parametrize("orientation", range(10))
def test_every_exif_orientation_is_turned_as_pillow_turns_it(prepare: Prepare, photographs: list[Image.Image], orientation: int) -> None:
    how = Preprocess(resize=50, crop=(40, 47), **PLAIN)
    for image in photographs:
        tagged = image.copy()
        tagged.getexif()[0x0112] = orientation
        assert np.array_equal(prepare(np.asarray(image), how, orientation), preprocess(ImageOps.exif_transpose(tagged), how)), image.size


@settings(max_examples=400, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    target=st.tuples(st.integers(1, 90), st.integers(1, 90)) | st.integers(1, 60),
    crop=st.none() | st.integers(1, 70),
    way=st.sampled_from(WAYS),
    seed=st.integers(0, 1000),
)
def test_noise_of_any_size_becomes_the_very_same_numbers(
    prepare: Prepare, size: tuple, target: object, crop: object, way: str, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    how = Preprocess(resize=target, crop=crop, interpolation=way, **PLAIN)
    assert np.array_equal(prepare(pixels, how, 1), preprocess(Image.fromarray(pixels), how))
