"""Images through a network, one batch in memory at a time, into a tally; what `calibrate` runs here and on a cluster's workers alike."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from se_deploy.artifacts import InputSpec
from se_deploy.errors import ImageError
from se_deploy.files import sha256
from se_deploy.images import Images, ahead
from se_deploy.quant.calibrate import Feeds, Watch
from se_deploy.quant.tally import Job, Tally

#: Threads that decode ahead while the network works.
DECODERS = 1
#: Batches after which memory that images of many sizes left in pieces goes back to the system, before more pieces come.
TIDY_EVERY = 16

#: Places, feeds (none at the end), and how many rows only fill a fixed batch.
Batch = tuple[list[int], Feeds, int]


@dataclass(frozen=True)
class Work:
    """Some images of a job: `places` are theirs in `paths`, the job's whole list. It can be sent to another process.

    `threads` is the network's: with one, and `batch` 1, an image gives the same bits wherever it runs on one kind of CPU.
    """

    job: Job
    model: Path
    spec: InputSpec
    root: Path
    paths: tuple[Path, ...]
    places: tuple[int, ...]
    batch: int = 1
    threads: int | None = 1

    def split(self, count: int) -> list[Work]:
        """The same in at most `count` parts, each with images from all over the list."""
        return [self.only(self.places[i::count]) for i in range(min(count, len(self.places)))]

    def absolute(self) -> Work:
        """The same for a process in another working directory."""
        paths = tuple(path.absolute() for path in self.paths)
        return replace(self, model=self.model.absolute(), root=self.root.absolute(), paths=paths)

    def only(self, places: tuple[int, ...]) -> Work:
        """The same for other places."""
        return replace(self, places=places)


def observe(work: Work, tally: Tally, after: Callable[[], None] = lambda: None) -> Tally:
    """Adds to `tally` what the network does on the work's images, and which could not be read; `after` is called after each batch.

    Raises:
        ImageError: an image is of another size than the network takes.
    """
    watch = Watch(work.model, work.job.tensors, work.threads)
    found = Images(work.root, list(work.paths), None)
    names = {str(work.paths[place].relative_to(work.root)): place for place in work.places}

    def ran(batch: Batch) -> tuple[Batch, list[ort.OrtValue]]:
        return batch, watch.run(batch[1])

    # While one batch is counted here the next one runs in another thread.
    for number, ((places, feeds, missing), given) in enumerate(ahead(ran, _fed(work, found), workers=1, waiting=1)):
        if feeds:
            watch.count(given, tally.observers, feeds, missing, tally.channels)
        tally.used |= {place: sha256(work.paths[place]) for place in places}
        skipped = _skipped(work, found, names, before=places[-1] if places else None)
        if places or not skipped.keys() <= tally.skipped.keys():
            tally.skipped |= skipped
            after()
        if number % TIDY_EVERY == TIDY_EVERY - 1:
            _tidy()
    return tally


def _fed(work: Work, found: Images) -> Iterator[Batch]:
    """What the network is fed, batch by batch."""
    fixed = work.spec.shape[0]
    size = fixed if isinstance(fixed, int) else work.batch
    for places, images in _batches(work, found, size):
        missing = size - len(images) if isinstance(fixed, int) and images else 0
        feeds = {work.spec.name: np.stack(images + images[-1:] * missing).astype(work.spec.dtype, copy=False)} if images else {}
        yield places, feeds, missing


def _tidy() -> None:
    """Gives memory that was freed back to the system where the C library (glibc) can be asked to: it would keep a little more each time."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _batches(work: Work, found: Images, size: int) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
    """Places and pixels, as many as fit into a batch; at the end once with none, for images skipped since."""
    where = {work.paths[place]: place for place in work.places}
    places: list[int] = []
    images: list[NDArray[np.float32]] = []
    for path, pixels in found.read(work.job.preprocess, list(where), DECODERS):
        _check_size(path, pixels, work.spec)
        if images and (len(images) == size or pixels.shape != images[0].shape):
            yield places, images
            places, images = [], []
        places.append(where[path])
        images.append(pixels)
    if images:
        yield places, images
    yield [], []


def _skipped(work: Work, found: Images, where: dict[str, int], before: int | None) -> dict[int, str]:
    """The images that were passed over before the one at `before` (None: all), by place: name and reason, no folder."""
    said = {where[name]: name + reason.removeprefix(str(work.root / name)) for name, reason in list(found.skipped.items())}
    return {place: reason for place, reason in said.items() if before is None or place < before}


def _check_size(path: Path, pixels: NDArray[Any], spec: InputSpec) -> None:
    wanted = spec.shape[1:]
    if any(isinstance(want, int) and want != size for want, size in zip(wanted, pixels.shape, strict=True)):
        raise ImageError(
            f"{path} is {'x'.join(map(str, pixels.shape))} after preprocessing, {spec.name} takes {'x'.join(map(str, wanted))}",
            "export with the right --resize and --crop",
        )
