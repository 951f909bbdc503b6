"""`calibrate`: a folder of images to a scale file, one image in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from se_deploy import artifacts
from se_deploy.artifacts import InputSpec, Progress, Result, Scales, TensorScale, peak_rss_mb, silent
from se_deploy.errors import ImageError, QuantError
from se_deploy.files import replacing
from se_deploy.images import Images, check_channels, find_images
from se_deploy.quant import calibrate as streaming
from se_deploy.quant import place, ranges, scales, sites
from se_deploy.stages.steps import exported
from se_deploy.stages.steps.exported import Exported

METHODS = ("minmax",)
#: Where scale files go when no place is named.
CALIBRATION = Path("calibration")
#: Fewer images than this leave ranges too narrow on most networks.
FEW = 32
#: How many skipped images are named.
NAMED = 5


def calibrate(
    model: str | Path | None = None,
    *,
    calib: str | Path,
    images: int | None = None,
    method: str = "minmax",
    output: str | Path | None = None,
    batch: int = 1,
    apart: Collection[Path] = (),
    progress: Progress = silent,
) -> Result:
    """Measures the range of every tensor that INT8 may need, on the images under `calib`.

    Args:
        model: a model directory or its model.onnx; None takes the newest export under engines/.
        calib: a folder of images; sub-folders are read too, files that cannot be read are skipped and named in the notes.
        images: use so many, spread evenly over the sorted folder; None uses all.
        method: how a scale follows from what was seen: "minmax".
        output: the scale file; default calibration/<name>.json.
        batch: images per run, where the network's batch is dynamic. Memory grows with it, not with the number of images.
        apart: images under `calib` that are not used, because they are to judge.
        progress: called after each image.

    Raises:
        ArtifactError: there is no such model, or it has changed since its export.
        ImageError: no usable image, or images that contradict the network's input.
        QuantError: the graph cannot be quantized, or the method is unknown.
    """
    started = time.perf_counter()
    source = exported.find(model)
    if method not in METHODS:
        raise QuantError(f"no calibration method is called {method!r}", f"take one of {', '.join(METHODS)}")
    spec = _image_input(source)
    found = find_images(Path(calib))
    tensors = _tensors(source.model)
    feed = _Feed(found, _spread([path for path in found.paths if path not in apart], images), source, spec, batch, progress)
    out = Path(output) if output is not None else CALIBRATION / f"{source.manifest.name}.json"
    with replacing(out) as beside:  # made first: a place that cannot be written is said before the work, not after it
        seen = streaming.observe(source.model, tensors, feed)
        chosen = {name: ranges.choose(name, seen[name]) for name in tensors}
        artifacts.write(_table(source, feed.used, method, {name: scale for name, (scale, _) in chosen.items()}), beside)
    return Result(
        output=out,
        se_blocks=source.manifest.se_blocks,
        images=len(feed.used),
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=(*source.notes, *feed.notes(), *(note for _, note in chosen.values() if note)),
    )


def _table(source: Exported, used: list[Path], method: str, tensors: dict[str, TensorScale]) -> Scales:
    return Scales(
        graph=source.manifest.model.sha256,
        preprocess=source.manifest.preprocess,
        images=len(used),
        images_sha256=scales.fingerprint(used),
        method=method,
        tensors=tensors,
    )


def _tensors(model: Path) -> list[str]:
    graph = onnx.load(model, load_external_data=False)
    place.check(graph)
    return list(sites.find(graph, outputs=True, blocks=True).tensors)


def _image_input(source: Exported) -> InputSpec:
    """The network's one image input, its channels checked against the preprocessing."""
    inputs = source.manifest.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = ", ".join(f"{i.name} {list(i.shape)}" for i in inputs)
        raise QuantError(f"the network's inputs ({shapes}) are not one batch of images", "calibrating takes (N, C, H, W)")
    channels = inputs[0].shape[1]
    if isinstance(channels, int):
        check_channels(source.manifest.preprocess, channels)
    return inputs[0]


def _spread(paths: list[Path], count: int | None) -> list[Path]:
    """`count` of the paths, evenly spread, so that every class folder gives its share."""
    if count is None or count >= len(paths):
        return paths
    if count < 1:
        raise ImageError(f"{count} images are none", "use at least one with --images")
    return [paths[i * len(paths) // count] for i in range(count)]


class _Feed:
    """Batches for the network, read one at a time; remembers which images were used and how many were asked for."""

    def __init__(self, found: Images, paths: list[Path], source: Exported, spec: InputSpec, batch: int, progress: Progress) -> None:
        self.found, self.paths, self.spec, self.progress = found, paths, spec, progress
        self.how = source.manifest.preprocess
        fixed = spec.shape[0]
        self.fixed = fixed if isinstance(fixed, int) else None
        self.batch = self.fixed or batch
        self.used: list[Path] = []

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        waiting: list[NDArray[np.float32]] = []
        self.progress("calibrate", 0, len(self.paths))
        for path, pixels in self.found.read(self.how, self.paths):
            _check_size(path, pixels, self.spec)
            self.used.append(path)
            if waiting and (len(waiting) == self.batch or pixels.shape != waiting[0].shape):
                yield self._stacked(waiting)
                waiting = []
            waiting.append(pixels)
            self.progress("calibrate", len(self.used) + len(self.found.skipped), len(self.paths))
        if not waiting:
            raise ImageError(f"none of the {len(self.paths)} images under {self.found.root} can be read", "give readable images")
        yield self._stacked(waiting)

    def _stacked(self, images: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """A batch; where the network's is fixed, the last image is repeated to fill it, which no range notices."""
        missing = (self.fixed or len(images)) - len(images)
        return {self.spec.name: np.stack(images + images[-1:] * missing).astype(self.spec.dtype, copy=False)}

    def notes(self) -> tuple[str, ...]:
        """How many images were used, skipped and why."""
        skipped, used = self.found.skipped, len(self.used)
        said = [f"calibrated on {used} image(s)" + (f", fewer than {FEW}: ranges may be too narrow" if used < FEW else "")]
        if skipped:
            reasons = [name + reason.removeprefix(str(self.found.root / name)) for name, reason in skipped.items()]
            more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
            said.append(f"skipped {len(reasons)} of {len(self.paths)} images: {'; '.join(reasons[:NAMED])}{more}")
        return tuple(said)


def _check_size(path: Path, pixels: NDArray[np.float32], spec: InputSpec) -> None:
    wanted = spec.shape[1:]
    if any(isinstance(want, int) and want != size for want, size in zip(wanted, pixels.shape, strict=True)):
        raise ImageError(
            f"{path} is {'x'.join(map(str, pixels.shape))} after preprocessing, {spec.name} takes {'x'.join(map(str, wanted))}",
            "export with the right --resize and --crop",
        )
