"""The five networks' images, drawn once into the user's cache: 200 that calibrate, and those that judge."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from benchmarks import fashion
from benchmarks.int8 import debian, documents, lines, pages
from se_deploy.stages import demo

CALIBRATION = 200
#: The sets of which other images can be drawn.
FRESH = {"pages": pages, "lines": lines}


def rendered(recipe: ModuleType, *parts: str) -> Path:
    """`PART/CLASS/*.png` of `pages` or `lines`; a changed recipe is drawn anew."""
    sources = (recipe, documents, debian)
    text = "".join(Path(str(source.__file__)).read_text() for source in sources) + version("pypdfium2") + version("pillow")

    def draw(folder: Path) -> None:
        for part in parts:
            recipe.draw(folder / part, part)

    name = "-".join((recipe.__name__.rpartition(".")[2], *parts))
    return kept(f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}", draw)


def clothes() -> Path:
    """Fashion-MNIST: 200 of the training images, all 10,000 test images."""

    def draw(folder: Path) -> None:
        fashion.draw("train", folder / "calib", CALIBRATION)
        fashion.draw("t10k", folder / "eval")

    return kept("fashion", draw)


def digits() -> Path:
    """The demo's digits: what trained the network (`train`), 200 that did not (`calib`), and the rest (`eval`)."""

    def draw(folder: Path) -> None:
        demo.draw_digits(folder)
        (folder / "test").rename(folder / "eval")

    return kept("digits", draw)


def drawn(name: str) -> Path:
    """The folder of a network's images, with `calib` and `eval` in it."""
    made: dict[str, Callable[[], Path]] = {
        "pages": lambda: rendered(pages, "calib", "eval"),
        "lines": lambda: rendered(lines, "calib", "eval", "judge"),
        "fashion": clothes,
        "digits": digits,
    }
    return made[name]()


def fresh(name: str) -> Path:
    """Images of documents that nobody looked at while the recipe was settled, `fresh/CLASS/*.png`, of one of `FRESH`."""
    return rendered(FRESH[name], "fresh") / "fresh"


def kept(name: str, draw: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, drawn whole or not at all."""
    folder = debian.cache() / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
        try:
            draw(beside)
            beside.chmod(0o755)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder
