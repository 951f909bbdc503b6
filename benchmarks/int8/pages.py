"""Pages of documents, turned: what a network that tells a page's orientation is calibrated and judged on.

A page is rendered at 72 dpi (one pixel a point) and turned by Pillow's `rotate(90 * k)`, counter-clockwise; its class is (4 - k) % 4,
which is exact. Blank pages are taken as they come, since scanners meet them too: no answer to them is right but by luck.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.int8 import debian, documents
from benchmarks.int8.documents import Document

#: Which documents calibrate and judge, and how many of their pages.
PARTS = {"calib": (documents.CALIBRATION, 200), "eval": (documents.EVALUATION, 960), "fresh": (documents.FRESH, 960)}


def draw(folder: Path, part: str) -> None:
    """Writes the images of a part (`calib`, `eval` or `fresh`) as `folder/CLASS/*.png`."""
    write(folder, *PARTS[part])


def write(folder: Path, sources: Sequence[Document], count: int) -> None:
    """Writes `count` pages of the documents as `folder/CLASS/NUMBER-DOCUMENT-PAGE.png`, every class as often."""
    for name in "0123":
        (folder / name).mkdir(parents=True, exist_ok=True)
    chosen = _chosen(sources, count)
    turns = np.random.default_rng(1).permutation(np.arange(count) % 4)
    for document in dict.fromkeys(document for document, _ in chosen):
        numbers = {page: place for place, (one, page) in enumerate(chosen) if one == document}
        for page, image in _rendered(document, sorted(numbers)):
            place = numbers[page]
            k = int(turns[place])
            name = f"{place:04d}-{Path(document.name).name.split('.')[0]}-{page + 1}.png"
            image.rotate(90 * k, expand=True).save(folder / str((4 - k) % 4) / name)


def _chosen(all_of: Sequence[Document], count: int) -> list[tuple[Document, int]]:
    """Pages in an order that a seed draws: an equal share of every document, small ones whole, the rest from the large."""
    rng = np.random.default_rng(0)
    left = {document: list(rng.permutation(_length(document))) for document in all_of}
    chosen: list[tuple[Document, int]] = []
    while len(chosen) < count:
        chosen += [(document, int(pages.pop())) for document, pages in left.items() if pages]
        left = {document: pages for document, pages in left.items() if pages}
        if not left and len(chosen) < count:
            raise ValueError(f"{count} pages are more than the documents have")
    return [chosen[i] for i in rng.permutation(len(chosen))[:count]]


def _length(document: Document) -> int:
    import pypdfium2

    with pypdfium2.PdfDocument(debian.document(document.package, document.name)) as pdf:
        return len(pdf)


def _rendered(document: Document, pages: Sequence[int]) -> Iterator[tuple[int, Image.Image]]:
    import pypdfium2

    with pypdfium2.PdfDocument(debian.document(document.package, document.name)) as pdf:
        for page in pages:
            yield page, pdf[page].render(scale=1).to_pil().convert("RGB")
