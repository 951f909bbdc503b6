"""The C++ loader's library, for the document's program."""

from pathlib import Path

import pytest

from tests.runtime import compiled


@pytest.fixture(scope="session")
def library() -> Path:
    return compiled.loader()
