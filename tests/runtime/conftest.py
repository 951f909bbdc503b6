"""The loader in three forms: the library under ctypes, the sample program, and the sample program under sanitizers."""

from pathlib import Path

import pytest

from tests.runtime import compiled


@pytest.fixture(scope="session")
def library() -> Path:
    return compiled.loader()


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """se_classify under AddressSanitizer and UndefinedBehaviorSanitizer."""
    return compiled.build("se_classify", "-DSE_SANITIZE=address,undefined", "-DCMAKE_BUILD_TYPE=Debug")
