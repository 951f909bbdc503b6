"""`plugin build`: the CUDA sources to the library that TensorRT loads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from se_deploy.artifacts import Progress, silent
from se_deploy.backends.plugin import compiling, library, toolchain
from se_deploy.backends.plugin.library import Library


@dataclass(frozen=True)
class BuiltPlugin:
    """The library, how long it took, and what it was compiled with, in a sentence."""

    library: Library
    seconds: float
    notes: tuple[str, ...]


def plugin_build(
    *, tensorrt_include: str | Path | None = None, output: str | Path | None = None, progress: Progress = silent
) -> BuiltPlugin:
    """Compiles the plugin with the nvcc and the TensorRT headers that are here.

    Args:
        tensorrt_include: a folder with NvInfer.h; None looks in TENSORRT_ROOT, the system's folders, and the wheel of `[plugin]`.
        output: the library; None puts it where `build` finds it.
        progress: called before the compiler runs.

    Raises:
        BackendError: no compiler or no headers, or the compiler refuses.
        ArtifactError: the place cannot be written.
    """
    started = time.perf_counter()
    found = toolchain.find(Path(tensorrt_include) if tensorrt_include is not None else None)
    made = compiling.compiled(found, progress, out=Path(output) if output is not None else None)
    return BuiltPlugin(library.described(made), time.perf_counter() - started, (found.said(),))
