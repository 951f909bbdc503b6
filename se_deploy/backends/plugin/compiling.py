"""Compiles the plugin library into the cache, whole or not at all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from se_deploy.artifacts import Progress
from se_deploy.backends.plugin import sources
from se_deploy.backends.plugin.toolchain import Toolchain
from se_deploy.errors import ArtifactError, BackendError
from se_deploy.files import replacing


def compiled(toolchain: Toolchain, progress: Progress, *, out: Path | None = None) -> Path:
    """Compiles the sources and returns the library.

    Args:
        toolchain: what `toolchain.find` found.
        progress: called once, before the compiler runs.
        out: where the library goes; None is its place in the cache.

    Raises:
        BackendError: the compiler refuses; its first error is in the message.
        ArtifactError: the place cannot be written.
    """
    folder = sources.root()
    progress(f"compile the plugin with nvcc for {len(sources.ARCHITECTURES)} architectures", 0, None)
    try:
        with replacing(out or sources.cached(folder)) as beside:
            code, said = _run(_command(toolchain, folder, beside))
            if code != 0:
                raise BackendError(f"{toolchain.nvcc} cannot compile the plugin: {_first_error(said)}", toolchain.said())
    except ArtifactError as error:
        if out is not None:
            raise
        raise BackendError(f"the plugin's library cannot be kept: {error.message}", "set XDG_CACHE_HOME to a folder for it") from error
    return out or sources.cached(folder)


def _run(command: list[str]) -> tuple[int, str]:
    """Runs the compiler; where this process is interrupted, all of the compiler's own processes end too."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


def _command(toolchain: Toolchain, folder: Path, out: Path) -> list[str]:
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in sources.ARCHITECTURES]
    named = " ".join([*(f"sm_{a}" for a in sources.ARCHITECTURES), f"compute_{sources.PTX}"])
    return [
        str(toolchain.nvcc),
        "-std=c++17",
        "-O3",
        "-shared",
        "-cudart=static",
        "--threads=0",
        *codes,
        f"-gencode=arch=compute_{sources.PTX},code=compute_{sources.PTX}",
        f'-DSE_ARCHITECTURES="{named}"',
        f"-I{folder / 'kernels'}",
        f"-I{toolchain.headers}",
        *([f"-L{toolchain.lib}"] if toolchain.lib else []),
        # TensorRT's headers deprecate what older interfaces in them use.
        "-Xcompiler=-fPIC,-fvisibility=hidden,-Wno-deprecated-declarations,-static-libstdc++,-static-libgcc",
        # Nothing undefined but libc; never unloaded, because a registry may keep its creators.
        f"-Xlinker=-z,defs,-z,nodelete,--version-script={folder / 'tensorrt' / 'exports.map'}",
        *map(str, sources.files(folder)),
        "-ldl",
        "-o",
        str(out),
    ]


def _first_error(text: str) -> str:
    """The compiler's first error, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(fatal |catastrophic )?error\b", line, re.IGNORECASE)]
    return (errors or lines[-1:] or ["it says nothing"])[0]
