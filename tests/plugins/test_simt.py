"""The CPU runner itself: what is right passes, and each planted fault is seen, with its place."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.plugins.compiling import ASAN, TESTS, compiled
from tests.plugins.layouts import to_bfloat16

SEEDS = range(12)


@pytest.fixture(scope="module")
def faults() -> Path:
    return compiled(TESTS / "faults.cpp", *ASAN, kernels=())


def told(faults: Path, name: str, seed: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([faults, name, str(seed)], capture_output=True, text=True)


def line_of(text: str) -> int:
    """The number of the one line of faults.cpp that holds `text`."""
    (number,) = [n for n, line in enumerate((TESTS / "faults.cpp").read_text().splitlines(), 1) if text in line]
    return number


@pytest.mark.parametrize("name", ["mirror", "warps", "cluster"])
def test_right_kernels_are_right_in_every_order(faults: Path, name: str) -> None:
    for seed in SEEDS:
        done = told(faults, name, seed)
        assert (done.returncode, done.stdout) == (0, "right\n")
        assert "ERROR" not in done.stderr


@pytest.mark.parametrize("name", ["no-barrier", "peer-has-ended"])
def test_a_missing_barrier_gives_a_wrong_result(faults: Path, name: str) -> None:
    assert "wrong\n" in {told(faults, name, seed).stdout for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deadlock_aborts_with_both_places(faults: Path, seed: int) -> None:
    done = told(faults, "half-of-them-wait", seed)
    assert done.returncode < 0
    assert "simt: deadlock: threads wait in __syncthreads at " in done.stderr
    assert f"faults.cpp:{line_of('if (threadIdx.x < 32) __syncthreads();')}" in done.stderr


def test_a_counter_that_nobody_counts_is_a_deadlock(faults: Path) -> None:
    done = told(faults, "nobody-counts", 0)
    assert done.returncode < 0
    assert f"faults.cpp:{line_of('se::waitFor(&counter, 1);')}\n" in done.stderr


def test_threads_of_a_block_in_two_barriers_are_refused(faults: Path) -> None:
    done = told(faults, "two-barriers", 0)
    assert done.returncode < 0
    assert "threads of a group wait in different barriers: __syncthreads at" in done.stderr


def test_shared_memory_ends_where_it_was_asked_to_end(faults: Path) -> None:
    done = told(faults, "one-behind", 0)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize("seed", range(3))
def test_shared_memory_that_nobody_wrote_is_not_a_number(faults: Path, seed: int) -> None:
    """The kernel takes its mirror only where what it reads is a NaN."""
    assert told(faults, "never-written", seed).stdout == "right\n"


def test_half_and_bfloat16_round_like_numpy(faults: Path, tmp_path: Path) -> None:
    every_half = np.arange(65536, dtype=np.uint16).view(np.float16)
    numbers = every_half[~np.isnan(every_half)].astype(np.float32)
    with np.errstate(over="ignore"):
        between = [np.nextafter((numbers + np.roll(numbers, 1)) / 2, np.float32(sign * np.inf)) for sign in (-1, 1)]
        middle = (numbers + np.roll(numbers, 1)) / 2  # ties
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
    v = np.concatenate([numbers, middle, *between, bits, np.float32([65519.996, 65520, -65520, np.inf, -np.inf, 1e-8])])
    v = v[~np.isnan(v)].astype(np.float32)
    (tmp_path / "v").write_bytes(v.tobytes())
    assert subprocess.run([faults, "halves", tmp_path / "v"]).returncode == 0
    out = np.frombuffer((tmp_path / "v.out").read_bytes(), [("half", "u2"), ("bfloat", "u2"), ("backs", "f4", 2)])
    with np.errstate(over="ignore"):
        half = v.astype(np.float16)
    assert len(out) == len(v) > 400_000
    np.testing.assert_array_equal(out["half"], half.view(np.uint16))
    np.testing.assert_array_equal(out["bfloat"], to_bfloat16(v))
    np.testing.assert_array_equal(out["backs"][:, 0], half.astype(np.float32))
    np.testing.assert_array_equal(out["backs"][:, 1], (out["bfloat"].astype(np.uint32) << 16).view(np.float32))
