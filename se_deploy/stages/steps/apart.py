"""The images that judge an INT8 engine: none of them was used for calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from se_deploy.artifacts import OutputSpec
from se_deploy.errors import ImageError, QuantError
from se_deploy.images import Images, spread
from se_deploy.insight.folding import Bound
from se_deploy.stages.steps import pictures
from se_deploy.stages.steps.exported import Exported
from se_deploy.verify.classes import class_scores
from se_deploy.verify.labels import by_folder, listed
from se_deploy.verify.samples import Pictures

#: Where no other images judge, one of so many calibration images is kept apart.
SHARE = 5
#: Images on which each unit alone is tried, for the order.
SWEPT = 32


@dataclass(frozen=True)
class Apart:
    """A bound, the images that judge it, those on which sensitivity is measured, and the calibration images that are not to be used."""

    bound: Bound
    output: str
    judging: Pictures
    sweeping: Pictures
    labelled: bool
    spared: frozenset[Path]


def apart(source: Exported, bound: Bound, calib: str | Path | None, data: str | Path | None) -> Apart:
    """Chooses the images.

    Args:
        source: the model.
        bound: what must hold.
        calib: the calibration images, where scales are measured; sensitivity is measured on them then.
        data: images that judge; None keeps every fifth of `calib` apart, so every fifth of each class.

    Raises:
        QuantError: the network gives no class scores; or there are neither `calib` nor `data`.
        ImageError: no image is left to judge, `data` holds calibration images, or top-1 cannot be told.
    """
    output = _scores(source)
    if data is None and calib is None:
        raise QuantError("nothing judges the bound: scales do not say which images they were measured on", "add --data DIR with others")
    every = pictures.pictures(source, calib) if calib is not None else None
    if data is not None:
        judging = pictures.pictures(source, data)
        _check_apart(judging, every, calib)
    else:
        assert every is not None
        judging = replace(every, paths=every.paths[SHARE - 1 :: SHARE])
        if not judging.paths:
            raise ImageError(
                f"{len(every)} image(s) under {calib} leave none to judge by",
                f"give at least {SHARE}, better hundreds, or others by --data",
            )
    labels = _labels(judging.images, source, output, needed=bound.max_drop is not None)
    judging = replace(judging, labels=labels or judging.labels)
    spared = frozenset(judging.paths) if data is None else frozenset()
    rest = [path for path in every.paths if path not in spared] if every is not None else judging.paths
    few = spread(rest, SWEPT)
    return Apart(bound, output.name, judging, replace(every or judging, paths=few), labels is not None, spared)


def _scores(source: Exported) -> OutputSpec:
    output = next((output for output in source.manifest.outputs if class_scores(output.shape)), None)
    if output is None:
        raise QuantError(f"no output of {source.manifest.name} is class scores, by which accuracy is judged", "build without a bound")
    return output


def _check_apart(judging: Pictures, calibrating: Pictures | None, calib: object) -> None:
    used = {path.resolve() for path in calibrating.paths} if calibrating is not None else set()
    both = [str(path) for path in judging.paths if path.resolve() in used]
    if both:
        said = f"{len(both)} image(s) to judge by are calibration images under {calib} too: {listed(both)}"
        raise ImageError(said, "name others with --data, or leave it out")


def _labels(images: Images, source: Exported, output: OutputSpec, *, needed: bool) -> dict[Path, int] | None:
    """Class indices by folder; where top-1 is not asked for, folders may be of any kind."""
    count = output.shape[1]
    if images.classes and isinstance(count, int):
        try:
            return by_folder(images, source.manifest.labels, count)
        except ImageError:
            if needed:
                raise
    if needed:
        raise ImageError(f"{images.root} has no class folders, so nothing tells how far top-1 drops", "take --min-agreement, or sort them")
    return None
