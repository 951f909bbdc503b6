"""Compiles the kernels for the CPU, once per state of the sources."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "plugins" / "kernels"
TESTS = ROOT / "plugins" / "tests"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-DSE_SIMT",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
)
ASAN = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")
#: device.cu asks the CUDA runtime and nothing else.
SOURCES = sorted(p.name for p in KERNELS.glob("*.cu") if p.name != "device.cu")


def compiled(program: Path, *flags: str, kernels: tuple[str, ...] = tuple(SOURCES), folder: Path = KERNELS) -> Path:
    """`program` (a .cpp file) with the kernels of `folder`, compiled by g++; kept in the temporary directory under a hash of all sources.

    Skips the test where there is no g++.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed; apt-get install g++")
    digest = hashlib.sha256(repr((FLAGS, flags, kernels, program.read_bytes())).encode())
    for path in sorted([*folder.glob("*"), *TESTS.rglob("*.h")]):
        digest.update(path.read_bytes())
    kept = Path(tempfile.gettempdir()) / f"se-deploy-simt-{os.getuid()}" / digest.hexdigest()[:20]
    binary = kept / program.stem
    if not binary.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as work:
            includes = [f"-I{path}" for path in (TESTS, TESTS / "include", folder)]
            sources = [program, *(folder / name for name in kernels)]
            with ThreadPoolExecutor(2) as pool:
                objects = list(pool.map(lambda source: _object(compiler, source, Path(work), [*includes, *flags]), sources))
            built = Path(work) / program.stem
            _run([compiler, *flags, *map(str, objects), "-o", str(built)])
            built.replace(binary)
    return binary


def _object(compiler: str, source: Path, work: Path, flags: list[str]) -> Path:
    target = work / f"{source.name}.o"
    _run([compiler, *FLAGS, *flags, "-x", "c++", "-c", str(source), "-o", str(target)])
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-4000:]}"
