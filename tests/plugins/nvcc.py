"""Compiles the kernels with nvcc for every architecture and tells what ptxas says of each.

python -m tests.plugins.nvcc            prints the table and writes it into docs/kernels.md
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from se_deploy.backends.plugin import sources, toolchain
from tests.plugins.compiling import KERNELS, ROOT

ARCHITECTURES = tuple(map(int, sources.ARCHITECTURES))
FLAGS = ("-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden,-Wall,-Wextra", "-Werror", "all-warnings", "-Xptxas", "-v")
PAGE = ROOT / "docs" / "kernels.md"
NAMES = {"f": "float32", "6__half": "float16", "13__nv_bfloat16": "bfloat16", "a": "int8", "x": "int64 sums"}
ABOVE = """\
# What the kernels use

Written by `python -m tests.plugins.nvcc`; `tests/plugins/test_nvcc.py` holds it to its limits. Registers a thread. Act, gate, skip and
epilogue are switches at run time, so type and layout are all there is to compile. On architectures without the cluster road `cluster`
is empty.
"""
BELOW = """\
Dynamic shared memory a block, in bytes: `pool` 16384 over the bytes of an element, `excite` none, `scale` 4 for each gate (at most 8192),
`cluster` its slice of the image and 16384 over the bytes of an element, `persistent` 32768 over the bytes of an element; the last two
also 4 for each hidden channel (twice in `cluster`) and for the mean and the gate of each channel of the slice.
"""
ENTRY = re.compile(
    r"Compiling entry function '_ZN2se\d+(?P<kernel>[a-z]+)I(?P<type>f|6__half|13__nv_bfloat16|a|x)(?:Lb(?P<tiles>[01]))?E\S*'"
    r" for 'sm_(?P<sm>\d+)'"
    r".*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True, order=True)
class Kernel:
    """A kernel by name, type and layout."""

    name: str
    type: str
    layout: str


@dataclass(frozen=True)
class Use:
    """What a kernel uses on one architecture: registers a thread, bytes of static shared memory a block, bytes spilled and of stack."""

    registers: int
    shared: int
    spilled: int
    stack: int


def compile_all(library: Path) -> dict[Kernel, dict[int, Use]]:
    """Compiles every .cu file for every architecture into one shared library; what each kernel uses, by architecture."""
    nvcc, folder = toolchain.compiler()
    targets = [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in ARCHITECTURES] + [
        f"-gencode=arch=compute_{sources.PTX},code=compute_{sources.PTX}"
    ]
    with tempfile.TemporaryDirectory() as work:

        def build(source: Path) -> tuple[Path, str]:
            target = Path(work) / f"{source.stem}.o"
            return target, _run([str(nvcc), *FLAGS, *targets, "-c", str(source), "-o", str(target)])

        with ThreadPoolExecutor(2) as pool:
            built = list(pool.map(build, sorted(KERNELS.glob("*.cu"))))
        libraries = [f"-L{folder}"] if folder else []
        objects = [str(target) for target, _ in built]
        _run([str(nvcc), "-shared", "-cudart", "static", *libraries, *objects, "-o", str(library)])
    return uses(said for _, said in built)


def uses(outputs: Iterable[str]) -> dict[Kernel, dict[int, Use]]:
    """What `ptxas -v` wrote, by kernel and architecture."""
    table: dict[Kernel, dict[int, Use]] = defaultdict(dict)
    for output in outputs:
        for entry in ENTRY.finditer(output):
            layout = {"0": "linear", "1": "channels-last", None: "any"}[entry["tiles"]]
            shared = re.search(r"(\d+) bytes smem", entry["rest"])
            table[Kernel(entry["kernel"], NAMES[entry["type"]], layout)][int(entry["sm"])] = Use(
                int(entry["registers"]), int(shared[1]) if shared else 0, int(entry["stores"]) + int(entry["loads"]), int(entry["stack"])
            )
    return dict(table)


def page(table: dict[Kernel, dict[int, Use]], library_bytes: int) -> str:
    """docs/kernels.md."""
    heads = [f"sm_{sm}" for sm in ARCHITECTURES]
    rows = [
        f"| {kernel.name} | {kernel.type} | {kernel.layout} | " + " | ".join(str(by_sm[sm].registers) for sm in ARCHITECTURES) + " |"
        for kernel, by_sm in sorted(table.items())
    ]
    every = [use for by_sm in table.values() for use in by_sm.values()]
    table_rows = "\n".join(["| kernel | type | layout | " + " | ".join(heads) + " |", "|---|---|---|" + "---|" * len(heads), *rows])
    megabytes = f"{library_bytes / 1e6:.1f} MB"
    summary = (
        f"{len(table)} kernels, {len(ARCHITECTURES)} architectures and PTX of compute_{sources.PTX}: a library of {megabytes}.\n"
        f"Bytes spilled: {max(use.spilled for use in every)}. Static shared memory: {max(use.shared for use in every)} bytes."
    )
    return f"{ABOVE}\n{summary}\n\n{table_rows}\n\n{BELOW}"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def main() -> None:
    """Prints the page and writes it."""
    with tempfile.TemporaryDirectory() as work:
        library = Path(work) / "libse_kernels.so"
        text = page(compile_all(library), library.stat().st_size)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
