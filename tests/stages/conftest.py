"""A small model directory, and a few images, for whoever asks by name."""

from pathlib import Path

import pytest

from tests.stages import exports


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return exports.directory(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return exports.pictures(tmp_path / "imgs", 5)
