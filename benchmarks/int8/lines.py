"""Lines of text, half of them upside down: what a network that tells a text line's direction is calibrated and judged on.

Words that follow each other in the documents, written with fonts of Debian on coloured, noisy strips. A file is what PP-OCR's preparation
makes for the network: 48 pixels high, the aspect kept, at most 192 wide (longer ones are squeezed), and grey, which is 0 after
normalising, to the right. The line is turned before that, so that the grey is always on the right. Classes: 0 upright, 1 turned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.int8 import debian, documents
from benchmarks.int8.documents import Document

#: Which documents calibrate and judge, how many lines, and the seed of how they are written.
PARTS = {"calib": (documents.CALIBRATION, 200, 5), "eval": (documents.EVALUATION, 2000, 4), "fresh": (documents.FRESH, 2000, 6)}
#: Lines that judge what falls back to float: of the documents that calibrate, but other lines.
APART = 1000
HEIGHT, WIDTH = 48, 192
#: What stands beside a short line: the 0 of a mean and deviation of 0.5, but for half a level.
GREY = 127
_LIBERATION = ("fonts-liberation2", "usr/share/fonts/truetype/liberation2")
_FREE = ("fonts-freefont-ttf", "usr/share/fonts/truetype/freefont")
_DEJAVU = ("fonts-dejavu-core", "usr/share/fonts/truetype/dejavu")
_LIBERTINE = ("fonts-linuxlibertine", "usr/share/fonts/opentype/linux-libertine")
FONTS = (
    *((*_LIBERATION, f"Liberation{name}.ttf") for name in ("Sans-Regular", "Serif-Italic", "Serif-Bold", "Mono-Regular")),
    *((*_FREE, f"Free{name}.ttf") for name in ("SansOblique", "Serif", "MonoBold")),
    *((*_DEJAVU, f"DejaVu{name}.ttf") for name in ("Sans", "Sans-Bold", "Serif", "SansMono")),
    *((*_LIBERTINE, f"{name}.otf") for name in ("LinLibertine_R", "LinLibertine_RI", "LinBiolinum_R")),
)
#: Pages of each document whose words are taken.
PAGES = 12
_WORD = re.compile(r"[A-Za-zÄÖÜäöüßàâçéèêîôû0-9.,;:()'-]+")


def draw(folder: Path, part: str) -> None:
    """Writes the images of a part (`calib`, `judge`, `eval` or `fresh`) as `folder/CLASS/*.png`."""
    if part == "judge":
        sources, before, seed = PARTS["calib"]
        write(folder, sources, APART, seed, after=before)
    else:
        write(folder, *PARTS[part])


def write(folder: Path, sources: Sequence[Document], count: int, seed: int, after: int = 0) -> None:
    """Writes `count` lines out of the documents as `folder/CLASS/NUMBER.png`, both classes as often; those `after` so many others."""
    for name in "01":
        (folder / name).mkdir(parents=True, exist_ok=True)
    turned = np.random.default_rng(1).permutation(np.arange(count) % 2)
    for number, text in enumerate(phrases(sources, after + count)[after:]):
        line = written(text, np.random.default_rng([2, seed, after + number]))
        if turned[number]:
            line = line.rotate(180)
        prepared(line).save(folder / str(turned[number]) / f"{number:04d}.png")


def prepared(line: Image.Image) -> Image.Image:
    """A line as PP-OCR hands it to the network: 48 high, at most 192 wide, grey to its right."""
    width = min(WIDTH, math.ceil(HEIGHT * line.width / line.height))
    whole = Image.new("RGB", (WIDTH, HEIGHT), (GREY,) * 3)
    whole.paste(line.resize((width, HEIGHT), Image.Resampling.BILINEAR), (0, 0))
    return whole


def phrases(sources: Sequence[Document], count: int) -> list[str]:
    """`count` different phrases of one to three words out of the documents, in an order that a seed draws."""
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    words = [_words(document) for document in sources]
    words = [some for some in words if len(some) > 8]
    while len(found) < count:
        some = words[int(rng.integers(len(words)))]
        start, length = int(rng.integers(len(some) - 4)), int(rng.integers(1, 4))
        text = " ".join(some[start : start + length])
        if sum(map(str.isalnum, text)) >= 2:
            found[text] = None
    return list(found)


def _words(document: Document) -> list[str]:
    import pypdfium2

    with pypdfium2.PdfDocument(debian.document(document.package, document.name)) as pdf:
        pages = np.linspace(0, len(pdf) - 1, min(PAGES, len(pdf))).astype(int)
        text = " ".join(pdf[int(page)].get_textpage().get_text_range() for page in pages)
    return [word for word in text.split() if _WORD.fullmatch(word)]


def written(text: str, rng: np.random.Generator) -> Image.Image:
    """The line: font, size, margins, colours, blur and noise as drawn."""
    package, folder, name = FONTS[int(rng.integers(len(FONTS)))]
    font = ImageFont.truetype(debian.unpacked(package) / folder / name, int(rng.integers(18, 40)), layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = (int(side) for side in font.getbbox(text))
    margins = [int(margin) for margin in rng.integers(1, 8, 4)]
    size = (right - left + margins[0] + margins[1], bottom - top + margins[2] + margins[3])
    paper, ink = _colours(rng)
    line = Image.new("RGB", size, paper)
    ImageDraw.Draw(line).text((margins[0] - left, margins[2] - top), text, ink, font)
    if rng.random() < 0.5:
        line = line.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
    pixels = np.asarray(line, np.float32) + rng.normal(0, rng.uniform(0, 20), (size[1], size[0], 1))
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Paper and ink: dark on light, three times in ten the other way about."""
    light, dark = rng.integers(150, 256, 3), rng.integers(0, 100, 3)
    pair = tuple(map(int, light)), tuple(map(int, dark))
    return pair if rng.random() < 0.7 else (pair[1], pair[0])
