"""`calibrate`: a folder of images to a scale file, or to a shard's histograms, one image in memory at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import onnx

from se_deploy.artifacts import Progress, Result, peak_rss_mb, silent
from se_deploy.errors import ImageError, QuantError
from se_deploy.files import replacing
from se_deploy.graph import batchnorm
from se_deploy.graph.read import read
from se_deploy.images import find_images, spread
from se_deploy.quant import place, sites, tally
from se_deploy.quant.tally import Job, Tally
from se_deploy.stages.steps import exported, jury, repaired, runners, scaling
from se_deploy.stages.steps.exported import Exported
from se_deploy.stages.steps.inputs import image_input
from se_deploy.stages.steps.observing import Work

#: Seconds of work after which what was seen is kept in a file, so that no more is lost when the run is killed.
KEEP_EVERY = 5.0


def calibrate(
    model: str | Path | None = None,
    *,
    calib: str | Path,
    images: int | None = None,
    method: str = "auto",
    repairs: Literal["auto", "none"] = "auto",
    output: str | Path | None = None,
    batch: int = 1,
    apart: Collection[Path] = (),
    shard: str | None = None,
    resume: bool = False,
    runner: Literal["local", "ray"] = "local",
    progress: Progress = silent,
) -> Result:
    """Measures how the values of every tensor that INT8 may need are spread, on the images under `calib`, and chooses scales.

    While it works it leaves FILE.partial beside the output every few seconds; `resume` goes on from there.

    Args:
        model: a model directory or its model.onnx; None takes the newest export under engines/.
        calib: a folder of images; sub-folders are read too, files that cannot be read are skipped and named in the notes.
        images: use so many, spread evenly over the sorted folder; None uses all.
        method: how a scale follows from what was seen: "minmax", "percentile", "entropy", "mse", or "auto", which takes for each
            tensor the one of the least squared quantization error.
        repairs: "auto" keeps every eighth image apart and repairs what they show to be better repaired; "none" measures all of them and
            leaves the graph as it is, which is faster to run where a repair would leave a node in it.
        output: the scale file; default calibration/<name>.json.
        batch: images per run, where the network's batch is dynamic. Memory grows with it, not with the number of images.
        apart: images under `calib` that are not used, because they are to judge.
        shard: "I/N" looks at every Nth image from the Ith on and writes histograms (calibration/<name>.IofN.safetensors) for `merge`.
        resume: go on where a run of the same images that was killed left off.
        runner: "local", or "ray" for parts on a Ray cluster (that of RAY_ADDRESS, else one started here), which sees the same paths.
        progress: called after each image.

    Raises:
        ArtifactError: there is no such model, or it has changed since its export.
        ImageError: no usable image, or images that contradict the network's input.
        QuantError: the graph cannot be quantized, a word is unknown, or what is to be resumed is another run's.
    """
    started = time.perf_counter()
    part = _part(shard)
    source = exported.find(model)
    scaling.check_method(method)
    if repairs not in ("auto", "none"):
        raise QuantError(f"repairs are not {repairs!r}", "take auto or none")
    runners.check(runner)
    work = _work(source, Path(calib), images, batch, part, apart, repairs == "auto")
    suffix = f".{part[0]}of{part[1]}.safetensors" if part else ".json"
    out = Path(output) if output is not None else scaling.CALIBRATION / f"{source.manifest.name}{suffix}"
    with replacing(out) as beside:  # made first: a place that cannot be written is said before the work, not after it
        partial = out.with_name(f"{out.name}.partial")
        seen, notes = _start(work, partial, resume)
        _run(runner, work, seen, partial, progress)
        if part:
            seen.write(beside)
        doubts = () if part else _scales(source, work, seen, method, beside, progress)
    partial.unlink(missing_ok=True)
    return Result(
        output=out,
        se_blocks=source.manifest.se_blocks,
        images=len(seen.used),
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=(*source.notes, *notes, *scaling.remarks(seen, len(work.places), shard=part is not None), *doubts),
    )


def _part(shard: str | None) -> tuple[int, int] | None:
    """(I, N) of "I/N"."""
    if shard is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise QuantError(f"{shard!r} is no shard", "write I/N with I from 1 to N, such as 1/4")
    return int(found[1]), int(found[2])


def _work(
    source: Exported, calib: Path, images: int | None, batch: int, part: tuple[int, int] | None, apart: Collection[Path], repairs: bool
) -> Work:
    """The images to look at, and with what."""
    spec = image_input(source.manifest.inputs, source.manifest.preprocess, _refused)
    found = find_images(calib)
    place.check(onnx.load(source.model, load_external_data=False))
    graph = batchnorm.folded(read(source.model))
    paths = _some([path for path in found.paths if path not in apart], images)
    held = jury.held(paths) if repairs else []
    paths = [path for path in paths if path not in set(held)]
    job = Job(
        graph=source.manifest.model.sha256,
        preprocess=source.manifest.preprocess,
        name=source.manifest.name,
        se_blocks=source.manifest.se_blocks,
        total=len(paths),
        listed=tally.listed([path.relative_to(calib).as_posix() for path in paths]),
        tensors=tuple(sites.find(graph, outputs=True, blocks=True).tensors),
        candidates=repaired.candidates(graph) if repairs else (),
        held=tuple(path.relative_to(calib).as_posix() for path in held),
    )
    first, step = part or (1, 1)
    places = tuple(range(first - 1, len(paths), step))
    if not places:
        raise ImageError(f"shard {first}/{step} of {len(paths)} image(s) is empty", "take fewer shards")
    return Work(job, source.model, spec, calib, tuple(paths), places, batch)


def _scales(source: Exported, work: Work, seen: Tally, method: str, path: Path, progress: Progress) -> tuple[str, ...]:
    """Writes the scale file, with the repairs that the images kept apart are for."""
    if seen.job.held:
        progress("judge repairs on images kept apart", 0, None)
    return scaling.write(seen, method, path, work.root, jury.of(source, seen.job, work.root))


def _start(work: Work, partial: Path, resume: bool) -> tuple[Tally, list[str]]:
    """An empty tally, or what a killed run left in `partial`."""
    if not resume:
        return Tally(work.job), []
    if not partial.is_file():
        return Tally(work.job), [f"nothing to resume: there is no {partial}"]
    seen = tally.read(partial)
    if seen.job != work.job or not seen.done <= set(work.places):
        raise QuantError(f"{partial} is of another model, other images or another shard", "leave --resume out to start anew")
    return seen, [f"resumed after {len(seen.done)} of {len(work.places)} images"]


def _run(runner: str, work: Work, seen: Tally, partial: Path, progress: Progress) -> None:
    """Looks at those of the work's images that were not looked at yet; keeps what was seen on the way."""
    total, kept = len(work.places), time.monotonic()

    def grown(so_far: Tally) -> None:
        nonlocal kept
        if time.monotonic() - kept >= KEEP_EVERY:
            so_far.write(partial)
            kept = time.monotonic()
        progress("calibrate", len(so_far.done), total)

    progress("calibrate", len(seen.done), total)
    rest = tuple(place for place in work.places if place not in seen.done)
    runners.run(runner, work.only(rest), seen, grown)


def _refused(takes: str) -> QuantError:
    return QuantError(f"the network's inputs ({takes}) are not one batch of images", "calibrating takes (N, C, H, W)")


def _some(paths: list[Path], count: int | None) -> list[Path]:
    """As many as the user wants; None wants all."""
    if count is not None and count < 1:
        raise ImageError(f"{count} images are none", "use at least one with --images")
    return paths if count is None else spread(paths, count)
