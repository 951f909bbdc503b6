"""What every backend offers: build an engine from a typed ONNX file, open it, run it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from se_deploy.artifacts import InputSpec, PluginRef, Precision, Progress

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Port:
    """An engine's input or output: NumPy's name of the type, and sizes or, where a dimension is dynamic, its name ("?": none)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a build is asked for beside the typed file; `check` of a backend refuses what it cannot do."""

    #: What to call the model in messages; None: the typed file.
    about: Path | None = None
    #: The sizes it is tuned for.
    inputs: tuple[InputSpec, ...] = ()
    #: "auto", "off", or the path of a plugin library.
    plugin: str = "auto"
    #: GPUs it is for, such as "sm_89".
    targets: tuple[str, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
    embed_plugin: bool = False
    refit: bool = False
    #: A folder for what makes the next build faster.
    cache: Path | None = None

    def options(self) -> tuple[str, ...]:
        """The command line's words for what was asked beyond sizes."""
        flags = ("version_compatible", "hardware_compatible", "embed_plugin", "refit")
        return tuple(f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)) + ("--target",) * bool(self.targets)


#: A build without wishes.
NOTHING_MORE = Wanted()


@dataclass(frozen=True)
class Made:
    """What is known of an engine once it is built; files lie beside it."""

    plugin: PluginRef | None = None
    targets: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


class Runner(AbstractContextManager["Runner"], Protocol):
    """An opened engine; a context manager, because some engines hold a device's memory."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """One batch, by input name, to every output, by name. Returns when the answer is in host memory."""


@runtime_checkable
class OnDevice(Protocol):
    """A runner on a device with a clock, streams and graphs of its own."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """As a runner's."""

    def device_times(self, feeds: Mapping[str, NDArray[Any]], count: int) -> list[float]:
        """Milliseconds on the device of so many runs in a row, copies left out."""

    def start(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Begins one run on the inputs that the last `run` of these shapes copied, and returns."""

    def wait(self) -> None:
        """Returns when everything started here is done."""

    def twin(self, *, graph: bool = False) -> AbstractContextManager[OnDevice]:
        """Another context of the same engine on a stream of its own; `graph` replays a captured graph."""

    def clocks(self) -> dict[str, float]:
        """The device's clocks, temperature and power just now; empty where the driver does not tell."""


class Backend(Protocol):
    """One kind of engine. Precision is in the types of the ONNX file, so `build` takes none."""

    name: str
    #: Of an engine's file: ".onnx" or ".plan".
    suffix: str
    default_precision: Precision
    #: INT8 activations: symmetric int8, or uint8 with a zero point.
    signed_int8: bool
    #: Whether the file's types are laws (TensorRT's rules) and SqueezeExcite nodes are for a plugin.
    strongly_typed: bool

    def missing(self) -> str | None:
        """Why it can neither build nor run here, with the remedy; None where it can."""

    def unable_to_run(self) -> str | None:
        """Why it cannot run an engine here though it may build one, with the remedy; None where it can."""

    def check(self, wanted: Wanted, se_blocks: int) -> None:
        """Refuses, before any work, what it cannot do here for a model with so many SqueezeExcite nodes.

        Raises:
            BackendError: with the reason.
        """

    def build(self, model: Path, out: Path, progress: Progress, wanted: Wanted = NOTHING_MORE) -> Made:
        """Writes the engine of a typed ONNX file to `out`; what belongs to it goes beside it, under names that begin with its own.

        Raises:
            BackendError: it refuses the model.
            CheckFailed: the engine would hold fewer plugin layers than the model has SqueezeExcite nodes.
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
