"""The image policy: what each kind of file becomes, pixel for pixel, and that preprocessing is torchvision's."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from se_deploy.artifacts import Preprocess
from se_deploy.errors import ImageError
from se_deploy.images import PRESETS, check_channels, decode, find_images, preprocess, preset

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth, with some noise: what a resize is made for."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (5 + c)) * np.cos(y / (7 + c)) + RNG.normal(0, 9, (height, width)) for c in range(3)]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8)).convert(mode)


# --- modes ---


def test_rgb_is_untouched(tmp_path: Path) -> None:
    assert np.array_equal(decode(saved(tmp_path / "a.png", Image.fromarray(PIXELS))), PIXELS)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    image = decode(saved(tmp_path / "a.png", Image.fromarray(PIXELS[..., 0])))
    assert np.array_equal(image, np.repeat(PIXELS[..., :1], 3, axis=2))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (7, 5, 1), dtype=np.uint8)
    rgba = Image.fromarray(np.concatenate([PIXELS, alpha], axis=2))
    la = Image.fromarray(np.concatenate([PIXELS[..., :1], alpha], axis=2), mode=None)
    assert rgba.mode == "RGBA"
    assert la.mode == "LA"
    assert np.array_equal(decode(saved(tmp_path / "a.png", rgba)), PIXELS)
    assert np.array_equal(decode(saved(tmp_path / "b.png", la)), np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 70, 2))], ids=["opaque", "one colour", "per colour"])
@pytest.mark.parametrize("color", ["RGB", "L"])
def test_a_palette_is_looked_up(tmp_path: Path, transparency: int | bytes | None, color: str) -> None:
    palette = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(7, 5), mode=None).convert("P")
    palette.putpalette(PIXELS.reshape(-1).tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image = decode(saved(tmp_path / "a.png", palette, **options), color)
    expected = Image.fromarray(PIXELS) if color == "RGB" else Image.fromarray(PIXELS).convert("L")
    assert image.mode == color
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int)).max() == 0


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_not_cut(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    image = decode(saved(tmp_path / name, Image.fromarray(values)), "L")
    assert np.asarray(image).tolist() == [[0, 0, 1, 1, 128, 255, 255]]  # round(v / 257)


def test_32_bit_grey_is_clipped_to_16(tmp_path: Path) -> None:
    values = np.array([[-5, 0, 65535, 70000]], np.int32)
    image = decode(saved(tmp_path / "a.tif", Image.fromarray(values)), "L")
    assert np.asarray(image).tolist() == [[0, 0, 255, 255]]


def test_one_bit_and_cmyk_are_converted(tmp_path: Path) -> None:
    bits = Image.fromarray(PIXELS[..., 0] > 127)
    assert np.array_equal(decode(saved(tmp_path / "a.png", bits), "L"), np.where(PIXELS[..., 0] > 127, 255, 0))
    cmyk = Image.fromarray(PIXELS).convert("CMYK")
    assert np.array_equal(decode(saved(tmp_path / "a.tif", cmyk)), cmyk.convert("RGB"))


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(ImageError, match=r"a\.tif holds floating-point pixels; convert it to 8 or 16 bits"):
        decode(path)


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 6), color) for color in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


# --- orientation ---

#: EXIF orientation -> how the stored rows and columns become upright (TIFF 6.0, tag 274).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.repeat(np.repeat(PIXELS, 16, 0), 16, 1)
    path = saved(tmp_path / name, Image.fromarray(stored), exif=exif, quality=100, subsampling=0)
    upright = UPRIGHT[orientation](stored).astype(int)
    assert np.asarray(decode(path)).shape == upright.shape
    assert np.abs(np.asarray(decode(path)) - upright).max() <= (4 if name == "a.jpg" else 0)  # JPEG loses a little


# --- files that cannot be read ---


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "avif", "bmp"])
def test_a_truncated_file_is_refused_whole(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", photograph(64, 48))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\.{suffix} is not a readable image; remove or replace it"):
        decode(path)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow's remarks on damaged tags
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "avif", "bmp", "ppm", "tga", "jp2"])
def test_damage_gives_an_image_or_one_named_error(tmp_path: Path, suffix: str) -> None:
    whole = io.BytesIO()
    Image.init()
    photograph(24, 16).save(whole, Image.EXTENSION[f".{suffix}"])
    rng = np.random.default_rng(1)
    path = tmp_path / f"a.{suffix}"
    refused = 0
    for _ in range(60):
        data = np.frombuffer(whole.getvalue(), np.uint8).copy()
        data[rng.integers(0, min(len(data), 300), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(data.tobytes())
        try:
            assert decode(path).mode == "RGB"
        except ImageError as error:
            refused += "not a readable image" in error.message
    assert refused or suffix == "tga"


@pytest.mark.parametrize("content", [b"", b"not an image", struct.pack("<8B", 0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A)])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="not a readable image"):
        decode(path)


def test_bad_files_are_passed_over_and_named(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        saved(tmp_path / name, photograph(8, 8))
    (tmp_path / "b.png").write_bytes(b"no")
    saved(tmp_path / "d.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    images = find_images(tmp_path)
    read = [path.name for path, _ in images.read(Preprocess())]
    assert read == ["a.png", "c.png"]
    assert list(images.skipped) == ["b.png", "d.tif"]
    assert "floating-point" in images.skipped["d.tif"]


# --- preprocessing against torchvision ---

SIZES = [(97, 61), (61, 97), (64, 64), (40, 200), (33, 32)]
MODES = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "nearest": transforms.InterpolationMode.NEAREST,
    "lanczos": transforms.InterpolationMode.LANCZOS,
    "box": transforms.InterpolationMode.BOX,
    "hamming": transforms.InterpolationMode.HAMMING,
}


def by_torchvision(image: Image.Image, how: Preprocess) -> torch.Tensor:
    steps: list[object] = []
    if how.resize is not None:
        steps.append(transforms.Resize(how.resize, MODES[how.interpolation]))
    if how.crop is not None:
        steps.append(transforms.CenterCrop(how.crop))
    steps += [transforms.ToTensor(), transforms.Normalize(how.mean, how.std)]
    return transforms.Compose(steps)(image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", MODES)
def test_resize_and_crop_are_torchvisions(size: tuple[int, int], interpolation: str) -> None:
    image = photograph(*size)
    for resize, crop in [(36, 32), (32, 32), ((40, 50), (32, 48)), (None, 48), (45, (51, 44)), (33, None)]:
        how = Preprocess(resize=resize, crop=crop, interpolation=interpolation)
        ours, theirs = preprocess(image, how), by_torchvision(image, how).numpy()
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 1e-6, (resize, crop)  # rounding of the division, far below one grey level


def test_a_crop_larger_than_the_image_pads_with_black() -> None:
    ours = preprocess(Image.new("RGB", (10, 9), (255, 255, 255)), Preprocess(crop=15, mean=(0, 0, 0), std=(1, 1, 1)))
    assert ours.shape == (3, 15, 15)
    assert ours.sum() == pytest.approx(3 * 90)


def test_colours_and_scale() -> None:
    image = Image.fromarray(PIXELS)
    plain: NDArray[np.float32] = PIXELS.transpose(2, 0, 1).astype(np.float32)
    bgr = preprocess(image, Preprocess(color="BGR", scale=1.0, mean=(1, 2, 3), std=(1, 1, 1)))
    assert np.array_equal(bgr, plain[::-1] - np.array([1, 2, 3], np.float32)[:, None, None])
    grey = preprocess(image.convert("L"), Preprocess(color="L", scale=1.0, mean=(0,), std=(2,)))
    assert np.array_equal(grey[0], np.asarray(image.convert("L")) / 2)


def test_presets_have_torchvisions_sizes_and_the_networks_channels() -> None:
    imagenet = preset("imagenet", 224, 224)
    assert (imagenet.resize, imagenet.crop, imagenet.interpolation) == (256, 224, "bilinear")
    assert preset("imagenet", 32, 32).resize == 36
    assert preset("imagenet", 192, 320).resize == (219, 365)
    assert preset("zero-one", 64, 64).resize == 64
    face = preset("vggface2", 224, 224)
    assert (face.color, face.scale, face.std, face.mean[0]) == ("BGR", 1.0, (1.0, 1.0, 1.0), 91.4953)
    white = preprocess(Image.new("RGB", (300, 200), (255, 255, 255)), preset("tf", 64, 64))
    assert white.shape == (3, 64, 64)
    assert np.allclose(white, 1.0)
    for name in PRESETS:
        check_channels(preset(name, 64, 64), 1 if name == "gray" else 3)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ImageError, match="'imagnet'; take one of imagenet,"):
        preset("imagnet", 224, 224)


def test_channels_that_contradict_the_network_are_refused() -> None:
    with pytest.raises(ImageError, match=r"gives 3 channel\(s\) \(RGB\), the network takes 1"):
        check_channels(Preprocess(), 1)
    with pytest.raises(ImageError, match="mean and std have 1 and 3 values for 3"):
        check_channels(Preprocess(mean=(0.5,)), 3)


# --- folders ---


def layout(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        saved(root / name, Image.new("RGB", (4, 4)))
    return root


def names(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in find_images(root).paths]


def test_class_folders_are_sorted_and_images_know_theirs(tmp_path: Path) -> None:
    layout(tmp_path, "dog/1.png", "cat/2.png", "cat/deep/3.png", "Bird/4.JPG")
    images = find_images(tmp_path)
    assert images.classes == ("Bird", "cat", "dog")
    assert [images.class_of(path) for path in images.paths] == [0, 1, 1, 2]
    assert names(tmp_path) == ["Bird/4.JPG", "cat/2.png", "cat/deep/3.png", "dog/1.png"]


def test_images_beside_folders_mean_no_classes(tmp_path: Path) -> None:
    images = find_images(layout(tmp_path, "cat/1.png", "2.png"))
    assert images.classes is None
    with pytest.raises(ImageError, match="has no class folders"):
        images.class_of(images.paths[0])


def test_hidden_files_and_folders_and_other_files_are_passed_over(tmp_path: Path) -> None:
    layout(tmp_path, "a.png", ".b.png", ".cache/c.png", "d/.e.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == ["a.png"]


def test_a_hidden_root_is_the_users_choice(tmp_path: Path) -> None:
    assert names(layout(tmp_path / ".data", "a.png")) == ["a.png"]


def test_linked_folders_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    layout(tmp_path / "store", "1.png")
    layout(tmp_path / "data" / "dog", "2.png")
    os.symlink(tmp_path / "store", tmp_path / "data" / "cat")
    os.symlink(tmp_path / "data", tmp_path / "store" / "loop")
    assert names(tmp_path / "data") == ["cat/1.png", "dog/2.png"]
    assert find_images(tmp_path / "data").classes == ("cat", "dog")


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no folder .*nowhere"), (".", "holds no image; known endings are .avif")])
def test_a_missing_or_empty_folder_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        find_images(tmp_path / name)


def test_reading_keeps_no_image(tmp_path: Path) -> None:
    layout(tmp_path, *(f"{i}.png" for i in range(3)))
    read = find_images(tmp_path).read(preset("zero-one", 8, 8))
    assert next(read)[1].shape == (3, 8, 8)
    assert len(list(read)) == 2
