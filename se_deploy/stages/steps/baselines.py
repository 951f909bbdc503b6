"""Baselines: other files, timed in the same rounds as the engines on trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from se_deploy import backends
from se_deploy.artifacts import ModelManifest
from se_deploy.backends import Runner
from se_deploy.errors import BackendError
from se_deploy.stages.steps import engines

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Baseline:
    """An opened baseline; its inputs are taken in the network's order, whatever their names."""

    name: str
    runner: Runner

    def takes(self, batch: int) -> bool:
        """Whether it runs at a batch size."""
        size = self.runner.inputs[0].shape[0]
        return not isinstance(size, int) or size == batch

    def fed(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """The network's inputs under the baseline's own names."""
        return {port.name: value.astype(port.dtype) for port, value in zip(self.runner.inputs, feeds.values(), strict=True)}


def opened(names: Sequence[str | Path], model: ModelManifest, threads: int, stack: ExitStack) -> Iterator[Baseline]:
    """Opens each: an engine that `build` made, or any .onnx file, which ONNX Runtime runs.

    Raises:
        ArtifactError: there is no such engine.
        BackendError: its backend is missing, or it takes other inputs than the network.
    """
    for name in names:
        path = Path(name)
        bare = path.is_file() and path.suffix == ".onnx" and not engines.manifest_of(path).is_file()
        backend = backends.get("onnxruntime" if bare else (found := engines.find(name)).manifest.backend)
        missing = backend.missing()
        if missing is not None:
            raise BackendError(f"the baseline {path} needs {backend.name}, which does not work here", missing)
        path = path if bare else found.path
        runner = stack.enter_context(backend.open(path, threads=threads))
        _check(path, runner, model)
        yield Baseline(str(path), runner)


def _check(path: Path, runner: Runner, model: ModelManifest) -> None:
    """Refuses a baseline that takes something else than the network does."""
    theirs, ours = [port.shape for port in runner.inputs], [spec.opt for spec in model.inputs]
    fits = len(theirs) == len(ours) and all(_fits(shape, opt) for shape, opt in zip(theirs, ours, strict=True))
    if not fits:
        shapes = ", ".join(str(list(shape)) for shape in theirs)
        raise BackendError(f"the baseline {path} takes {shapes}, {model.name} takes {[list(shape) for shape in ours]}", "name another one")


def _fits(shape: Sequence[int | str], opt: Sequence[int]) -> bool:
    """Whether a declared shape takes the network's, the batch aside."""
    return len(shape) == len(opt) and all(not isinstance(size, int) or size == best for size, best in zip(shape[1:], opt[1:], strict=True))
