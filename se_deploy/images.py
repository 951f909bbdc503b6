"""Decoding and preprocessing: one policy for calibrating, benchmarking and what C++ and Triton must equal.

Decoding: the EXIF orientation is applied; the first frame of an animation is taken; 16-bit grey becomes 8-bit by v / 257;
everything else goes through Pillow's `convert` (alpha is dropped, palettes are looked up, CMYK is converted), as torchvision's
loaders do. Resizing is Pillow's own, antialiased, on the 8-bit image. A crop larger than the image pads it with black.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from se_deploy.artifacts import Preprocess
from se_deploy.errors import ImageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".tga", ".avif"})

#: Images that each thread may be ahead of the reader.
AHEAD = 4
Given = TypeVar("Given")
Made = TypeVar("Made")
#: Bytes that an encoded image may have where it comes from, or goes to, another machine.
MAX_ENCODED = 64 << 20
#: Pixels of a side that a preprocessing may ask for; beyond it is a mistake or an attack.
MAX_SIDE = 1 << 13

#: name -> (share of the resized short side that the crop takes, the rest of the preprocessing)
PRESETS: dict[str, tuple[float, Preprocess]] = {
    "imagenet": (0.875, Preprocess()),
    "imagenet-bicubic": (0.875, Preprocess(interpolation="bicubic")),
    # VGGFace2's SENet-50 (Cao et al., 2018): BGR, 0-255, mean subtracted, short side 256.
    "vggface2": (0.875, Preprocess(color="BGR", scale=1.0, mean=(91.4953, 103.8827, 131.0912), std=(1.0, 1.0, 1.0))),
    # What TensorFlow's Inception-style networks want: -1 to 1.
    "tf": (0.875, Preprocess(interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))),
    "zero-one": (1.0, Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))),
    "gray": (1.0, Preprocess(color="L", mean=(0.5,), std=(0.5,))),
}


def preset(name: str, height: int, width: int) -> Preprocess:
    """The named preset for a network whose input is `height` x `width`.

    Raises:
        ImageError: no preset has that name.
    """
    if name not in PRESETS:
        raise ImageError(f"no preprocessing preset is called {name!r}", f"take one of {', '.join(PRESETS)} or a .json file")
    share, base = PRESETS[name]
    return base.model_copy(update=sized(height, width, share))


def sized(height: int, width: int, share: float) -> dict[str, int | tuple[int, int]]:
    """`resize` and `crop` for an input of `height` x `width` of which the crop takes `share` of the short side."""
    if height == width:
        return {"resize": int(height / share), "crop": height}
    return {"resize": (int(height / share), int(width / share)), "crop": (height, width)}


def decode(path: Path | BinaryIO, color: str = "RGB") -> Image.Image:
    """Decodes an image to 8-bit RGB (for "RGB" and "BGR") or L, the EXIF orientation applied.

    Raises:
        ImageError: the file is not an image that Pillow reads whole, or holds floating-point pixels.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except Exception as error:  # decoders of damaged files raise whatever their library does
        raise ImageError(f"{path} is not a readable image", "remove or replace it") from error
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point pixels", "convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.rint(pixels.clip(0, 65535) / 257).astype(np.uint8))
    image.info.pop("transparency", None)  # dropped as alpha is; convert() would warn of it
    return image.convert("L" if color == "L" else "RGB")


def preprocess(image: Image.Image, how: Preprocess) -> NDArray[np.float32]:
    """An 8-bit image to the network's input.

    Returns:
        float32 of shape (channels, height, width).
    """
    if how.resize is not None:
        image = image.resize(_resized(image.size, how.resize), Image.Resampling[how.interpolation.upper()])
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if how.crop is not None:
        pixels = _centre_crop(pixels, *((how.crop, how.crop) if isinstance(how.crop, int) else how.crop))
    if how.color == "BGR":
        pixels = pixels[:, :, ::-1]
    scaled = pixels.astype(np.float32) * np.float32(how.scale)
    values = (scaled - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def prepared_shape(how: Preprocess, width: int, height: int) -> tuple[int, int, int]:
    """(channels, height, width) of what `preprocess` makes of an image, without making it."""
    if how.resize is not None:
        width, height = _resized((width, height), how.resize)
    if how.crop is not None:
        height, width = (how.crop, how.crop) if isinstance(how.crop, int) else how.crop
    return 1 if how.color == "L" else 3, height, width


def _resized(size: tuple[int, int], resize: int | tuple[int, int]) -> tuple[int, int]:
    """Pillow's (width, height); an int is the short side, the long one truncated as torchvision does."""
    if not isinstance(resize, int):
        return resize[1], resize[0]
    width, height = size
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


def _centre_crop(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """torchvision's CenterCrop: offsets rounded half to even, black where the image is smaller."""
    missing_y, missing_x = max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1])
    if missing_y or missing_x:
        around = ((missing_y // 2, (missing_y + 1) // 2), (missing_x // 2, (missing_x + 1) // 2), (0, 0))
        pixels = np.pad(pixels, around)
    top, left = round((pixels.shape[0] - height) / 2), round((pixels.shape[1] - width) / 2)
    return pixels[top : top + height, left : left + width]


@dataclass
class Images:
    """The images under a folder, in sorted order; `classes` are its sub-folders, sorted, where images lie in those alone."""

    root: Path
    paths: list[Path]
    classes: tuple[str, ...] | None
    #: Files that could not be read, by name relative to the folder, with the reason; filled while reading.
    skipped: dict[str, str] = field(default_factory=dict)
    #: How long each image's decoding and preprocessing took; filled while reading.
    seconds: dict[Path, float] = field(default_factory=dict, repr=False)

    def class_of(self, path: Path) -> int:
        """The index of an image's class folder in `classes`."""
        if self.classes is None:
            raise ImageError(f"{self.root} has no class folders", "put each class's images in a folder of its name")
        return self.classes.index(path.relative_to(self.root).parts[0])

    def read(self, how: Preprocess, paths: Sequence[Path] | None = None, workers: int = 0) -> Iterator[tuple[Path, NDArray[np.float32]]]:
        """Decodes and preprocesses one image at a time, float32 (channels, height, width); notes and passes over what it cannot read.

        With `workers`, as many threads work ahead, by a few images each; the order stays.
        """

        def prepared(path: Path) -> NDArray[np.float32] | ImageError:
            started = time.perf_counter()
            try:
                return preprocess(decode(path, how.color), how)
            except ImageError as error:
                return error
            finally:
                self.seconds[path] = time.perf_counter() - started

        chosen = self.paths if paths is None else paths
        for path, pixels in zip(chosen, ahead(prepared, chosen, workers) if workers else map(prepared, chosen), strict=True):
            if isinstance(pixels, ImageError):
                self.skipped[str(path.relative_to(self.root))] = pixels.message
            else:
                yield path, pixels


def ahead(work: Callable[[Given], Made], items: Iterable[Given], workers: int, waiting: int = AHEAD) -> Iterator[Made]:
    """What `work` makes of each item, in order, `workers` threads ahead of the reader; no more than `waiting` wait for each thread."""
    with ThreadPoolExecutor(workers) as pool:
        made: deque[Future[Made]] = deque()
        try:
            for item in items:
                made.append(pool.submit(work, item))
                if len(made) > waiting * workers:
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()
        finally:
            for future in made:
                future.cancel()


def find_images(root: Path) -> Images:
    """The images under `root`, in folders of any depth; hidden files are passed over.

    Raises:
        ImageError: the folder is missing or holds no image.
    """
    if not root.is_dir():
        raise ImageError(f"no folder {root}", "name a folder of images")
    paths = sorted(p for p in _visible_files(root) if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImageError(f"{root} holds no image", f"known endings are {' '.join(sorted(SUFFIXES))}")
    below = {p.relative_to(root).parts[0] for p in paths if len(p.relative_to(root).parts) > 1}
    classes = tuple(sorted(below)) if all(len(p.relative_to(root).parts) > 1 for p in paths) else None
    return Images(root, paths, classes)


def spread(paths: list[Path], count: int) -> list[Path]:
    """At most `count` of the paths, evenly spread, so that every class folder gives its share."""
    return paths if len(paths) <= count else [paths[i * len(paths) // count] for i in range(count)]


def _visible_files(root: Path) -> Iterator[Path]:
    """Every file below `root`; linked folders are followed (data sets are often made of them), but none twice on one way down."""
    for at, below, names in os.walk(root, followlinks=True):
        here = Path(at)
        above = {folder.resolve() for folder in (here, *here.parents)}
        below[:] = [name for name in below if not name.startswith(".") and (here / name).resolve() not in above]
        yield from (here / name for name in names if not name.startswith(".") and (here / name).is_file())


def check_channels(how: Preprocess, channels: int) -> None:
    """Refuses a preprocessing whose colours are not the network's channels.

    Raises:
        ImageError: the number of channels, means or stds differs from the network's.
    """
    count = 1 if how.color == "L" else 3
    if count != channels:
        raise ImageError(
            f"preprocessing gives {count} channel(s) ({how.color}), the network takes {channels}",
            "name the right colours with --color at export",
        )
    if len(how.mean) != channels or len(how.std) != channels:
        raise ImageError(f"mean and std have {len(how.mean)} and {len(how.std)} values for {channels} channel(s)", "give one per channel")


def check_sane(how: Preprocess) -> None:
    """Refuses a preprocessing, from a manifest or a server, that no image could be prepared with, before memory is taken for it.

    Raises:
        ImageError: its means or stds are not one per channel, a std is 0, or a size is none or beyond all bounds.
    """
    check_channels(how, 1 if how.color == "L" else 3)
    numbers = (how.scale, *how.mean, *how.std)
    if not np.isfinite(numbers).all() or max(map(abs, numbers)) > float(np.finfo(np.float32).max) or not all(map(np.float32, how.std)):
        raise ImageError("the preprocessing's scale, mean and std are no numbers to count with", "export the model again")
    for size in (how.resize, how.crop):
        for side in (size,) if isinstance(size, int) else size or ():
            if not 1 <= side <= MAX_SIDE:
                raise ImageError(f"the preprocessing asks for {side} pixels", f"a side has 1 to {MAX_SIDE}")
