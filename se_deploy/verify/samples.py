"""What an engine is tried on: the probe inputs of the export, or a user's images; a chunk in memory at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import InputSpec, Preprocess
from se_deploy.errors import ArtifactError, ImageError
from se_deploy.images import Images

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Chunk:
    """Some samples: inputs by name (N, ...), their names, class indices where known, and recorded answers where there are any."""

    feeds: Tensors
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    expected: Tensors | None = None


class Samples(Protocol):
    """Probes or pictures."""

    def __len__(self) -> int:
        """How many there are, unreadable ones included."""

    def chunks(self, size: int) -> Iterator[Chunk]:
        """All of them in order, at most `size` at a time."""


@dataclass(frozen=True)
class Probes:
    """The inputs that `export` recorded, and what the reference answered then."""

    feeds: Tensors
    expected: Tensors

    @classmethod
    def read(cls, path: Path) -> Probes:
        """Reads a reference.npz: arrays `input.NAME` and `output.NAME`, as many rows in each.

        Raises:
            ArtifactError: it is missing, no such file, or incomplete.
        """
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                named = {key: arrays[key] for key in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"cannot read {path}: {error}", "export the model again") from error
        feeds = {key.removeprefix("input."): value for key, value in named.items() if key.startswith("input.")}
        expected = {key.removeprefix("output."): value for key, value in named.items() if key.startswith("output.")}
        if not feeds or not expected or len({len(value) for value in named.values()}) != 1:
            raise ArtifactError(f"{path} does not hold inputs and outputs of the same number", "export the model again")
        return cls(feeds, expected)

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Slices of the arrays."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            feeds, expected = ({name: value[part] for name, value in tensors.items()} for tensors in (self.feeds, self.expected))
            yield Chunk(feeds, tuple(f"probe {i}" for i in range(len(self))[part]), expected=expected)


@dataclass(frozen=True)
class Pictures:
    """A user's images, prepared as the manifest says; `labels` holds class indices of `paths`, or is None.

    `workers` threads decode ahead. Neighbours of differing sizes, where the network takes those, go into chunks of their own.
    """

    images: Images
    paths: list[Path]
    labels: Mapping[Path, int] | None
    spec: InputSpec
    how: Preprocess
    workers: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Decodes and prepares; what cannot be read is passed over and noted in `images.skipped`.

        Raises:
            ImageError: an image has another size than the network takes, or none can be read.
        """
        waiting: list[tuple[Path, NDArray[np.float32]]] = []
        seen = 0
        for path, pixels in self.images.read(self.how, self.paths, self.workers):
            check_size(path, pixels, self.spec.shape[1:])
            if waiting and pixels.shape != waiting[0][1].shape:
                yield self._chunk(waiting)
                waiting = []
            waiting.append((path, pixels))
            seen += 1
            if len(waiting) == size:
                yield self._chunk(waiting)
                waiting = []
        if waiting:
            yield self._chunk(waiting)
        if not seen:
            raise ImageError(f"none of the {len(self)} images under {self.images.root} can be read", "give readable images")

    def _chunk(self, waiting: list[tuple[Path, NDArray[np.float32]]]) -> Chunk:
        names = tuple(str(path.relative_to(self.images.root)) for path, _ in waiting)
        labels = None if self.labels is None else np.array([self.labels[path] for path, _ in waiting], np.int64)
        return Chunk({self.spec.name: np.stack([pixels for _, pixels in waiting]).astype(self.spec.dtype)}, names, labels)


def check_size(path: Path, pixels: NDArray[np.float32], wanted: tuple[int | str, ...]) -> None:
    """Refuses an image that is not (C, H, W) as the network takes it; a named dimension takes any size."""
    if any(isinstance(want, int) and want != size for want, size in zip(wanted, pixels.shape, strict=True)):
        raise ImageError(
            f"{path} is {'x'.join(map(str, pixels.shape))} after preprocessing, {'x'.join(map(str, wanted))} is wanted",
            "export with the right --resize and --crop",
        )
