"""No barrier of the kernels can be left out unnoticed."""

from pathlib import Path

import pytest

from tests.plugins import mutate
from tests.plugins.cases import run


def test_there_are_barriers_and_the_cases_reach_them_all(binary: Path, tmp_path: Path) -> None:
    assert len(mutate.barriers()) == 17
    reached: set[str] = set()
    for group in mutate.cases():
        reached |= set(run(binary, group, tmp_path)[-1]["barriers"])
    assert reached == set(mutate.barriers())


@pytest.mark.parametrize("barrier", mutate.barriers())
def test_without_one_barrier_a_case_fails(binary: Path, tmp_path: Path, barrier: str) -> None:
    assert mutate.noticed(binary, tmp_path, barrier) is not None


@pytest.mark.parametrize("barrier", mutate.barriers(mutate.OURS))
def test_without_one_of_our_own_barriers_a_case_fails(tmp_path: Path, barrier: str) -> None:
    assert len(mutate.barriers(mutate.OURS)) == 2
    assert mutate.noticed(mutate.without(barrier, tmp_path), tmp_path, barrier) is not None
