"""The compiled runners of cases, once per session."""

from pathlib import Path

import pytest

from tests.plugins.compiling import ASAN, TESTS, compiled


@pytest.fixture(scope="session")
def binary() -> Path:
    """plugins/tests/run_cases.cpp."""
    return compiled(TESTS / "run_cases.cpp")


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The same under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return compiled(TESTS / "run_cases.cpp", *ASAN)
