"""The compiled runners of cases, once per session."""

from pathlib import Path

import pytest

from tests.plugins.compiling import TESTS, compiled


@pytest.fixture(scope="session")
def binary() -> Path:
    """plugins/tests/run_cases.cpp."""
    return compiled(TESTS / "run_cases.cpp")
