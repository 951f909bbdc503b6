"""What every backend offers: build an engine from a typed ONNX file, open it, run it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from se_deploy.artifacts import Precision, Progress

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Port:
    """An engine's input or output: NumPy's name of the type, and sizes or, where a dimension is dynamic, its name ("?": none)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Runner(AbstractContextManager["Runner"], Protocol):
    """An opened engine; a context manager, because some engines hold a device's memory."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """One batch, by input name, to every output, by name. Returns when the answer is in host memory."""


class Backend(Protocol):
    """One kind of engine. Precision is in the types of the ONNX file, so `build` takes none."""

    name: str
    #: Of an engine's file: ".onnx" or ".plan".
    suffix: str
    default_precision: Precision
    #: INT8 activations: symmetric int8, or uint8 with a zero point.
    signed_int8: bool

    def missing(self) -> str | None:
        """Why it can neither build nor run here, with the remedy; None where it can."""

    def build(self, model: Path, out: Path, progress: Progress) -> None:
        """Writes the engine of a typed ONNX file to `out`.

        Raises:
            BackendError: it refuses the model.
        """

    def open(self, engine: Path, *, threads: int | None = None, optimised: bool = True) -> Runner:
        """Opens an engine on `threads` threads (None: the backend's own choice); `optimised` off is for exact comparisons.

        Raises:
            BackendError: the file is missing or is no engine of this backend.
        """

    def versions(self) -> dict[str, str]:
        """The packages that an engine's behaviour depends on, for its manifest."""

    def device(self) -> str:
        """What it runs on here, such as the CPU's model name."""
