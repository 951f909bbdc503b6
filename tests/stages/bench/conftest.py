"""Engines of a small network, sound and with planted faults, and images for them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_deploy.verify import latency
from tests.stages.bench.running import inside
from tests.verify import built

FAULTS = (built.weak_classifier, built.nan_class, built.first_row_for_all, built.first_row_only, built.other_classes)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with engines/small, a sound engine in it and one with each fault; treat as read-only."""
    root = tmp_path_factory.mktemp("bench")
    model = built.model(root / "engines" / "small")
    for fault in FAULTS:
        built.engine(model, fault, f"{fault.__name__}.onnx")
    built.engine(model)
    return root


@pytest.fixture
def here(made: Path) -> Iterator[Path]:
    """The made folder as the working directory."""
    yield from inside(made)


@pytest.fixture
def fresh(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, for tests that change files."""
    shutil.copytree(made, tmp_path / "copy")
    yield from inside(tmp_path / "copy")


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests read no latency closely: the rests between blocks would be most of their time."""
    monkeypatch.setattr(latency, "REST", 0.0)


@pytest.fixture(scope="session")
def imgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images in ten class folders, 0 to 9."""
    root = tmp_path_factory.mktemp("imgs")
    rng = np.random.default_rng(3)
    for number in range(30):
        (root / str(number % 10)).mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        coarse.resize((50, 40), Image.Resampling.BICUBIC).save(root / str(number % 10) / f"{number:02d}.png")
    return root
