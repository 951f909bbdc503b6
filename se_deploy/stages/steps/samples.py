"""What engines are tried on: the export's probes, or a user's images with their labels where there are any."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from se_deploy.artifacts import EngineManifest
from se_deploy.errors import ImageError
from se_deploy.images import Images, find_images
from se_deploy.stages.steps.engines import Built
from se_deploy.stages.steps.inputs import image_input, without_data
from se_deploy.verify.accuracy import Task
from se_deploy.verify.classes import class_scores
from se_deploy.verify.labels import by_csv, by_folder, listed
from se_deploy.verify.samples import Pictures, Samples
from se_deploy.verify.tolerance import tolerances
from se_deploy.verify.verification import Pair, read_pairs

if TYPE_CHECKING:
    from se_deploy.stages.steps.reference import Reference

#: Images, their class indices where they are known, and remarks.
Labelled = tuple[Images, dict[Path, int] | None, list[str]]


@dataclass(frozen=True)
class Wanted:
    """What the caller names: images, their classes or pairs, what the outputs are for, and tolerances as they are written."""

    data: str | Path | None = None
    labels: str | Path | None = None
    pairs: str | Path | None = None
    embeddings: bool = False
    rtol: Sequence[str] = ()
    atol: Sequence[str] = ()


@dataclass(frozen=True)
class Chosen:
    """The samples, what their outputs are held to, and remarks on what they can tell."""

    samples: Samples
    task: Task
    notes: list[str]
    pairs: Sequence[Pair] = ()


def choose(engine: Built, reference: Reference, wanted: Wanted) -> Chosen:
    """What to try an engine on.

    Raises:
        ImageError: no image, or images, labels or pairs that contradict the network.
        ArtifactError: a tolerance that is not understood, or is of an output that is not there.
    """
    manifest = engine.manifest
    limits = tolerances(wanted.rtol, wanted.atol, [output.name for output in manifest.outputs])
    task = Task(manifest.labels, limits, wanted.embeddings)
    if wanted.data is None and wanted.labels is None and wanted.pairs is None:
        count = len(reference.probes)
        return Chosen(reference.probes, task, [f"accuracy is on the {count} probe inputs of the export; real images tell more: --data DIR"])
    spec = image_input(manifest.inputs, manifest.preprocess, without_data(engine.path))
    (images, known, notes), pairs = _images(manifest, wanted)
    return Chosen(Pictures(images, images.paths, known, spec, manifest.preprocess, _workers()), task, notes, pairs)


def _workers() -> int:
    """Threads that decode: Pillow leaves the interpreter's lock while it works."""
    return min(8, os.cpu_count() or 1)


def _images(manifest: EngineManifest, wanted: Wanted) -> tuple[Labelled, list[Pair]]:
    """The images, and the pairs that are made of them."""
    if wanted.pairs is not None:
        if wanted.labels is not None:
            raise ImageError("--labels and --pairs exclude each other", "pairs say themselves what is the same")
        if not any(len(output.shape) >= 2 and class_scores(output.shape) for output in manifest.outputs):
            raise ImageError("no output of the network is an embedding (N, D), so there are no pairs to judge", "leave --pairs out")
        file = Path(wanted.pairs)
        root = Path(wanted.data) if wanted.data is not None else file.parent
        pairs = read_pairs(file, root)
        paths = sorted({root / name for pair in pairs for name in (pair.first, pair.second)})
        return (Images(root, paths, None), None, []), pairs
    if wanted.embeddings and wanted.labels is not None:
        raise ImageError("--labels and --embeddings exclude each other", "embeddings have no classes; --pairs CSV names pairs")
    if wanted.embeddings:
        return (find_images(Path(wanted.data or "")), None, []), []
    if wanted.labels is None:
        return _by_folder(manifest, Path(wanted.data or "")), []
    return _by_csv(manifest, wanted.data, Path(wanted.labels)), []


def _by_csv(manifest: EngineManifest, data: str | Path | None, labels: Path) -> Labelled:
    count = _classes(manifest)
    if count is None:
        raise ImageError("no output of the network is class scores, so images have no classes", "leave --labels out")
    root = Path(data) if data is not None else labels.parent
    known = by_csv(labels, root, manifest.labels, count)
    left = 0 if data is None else len(set(find_images(root).paths) - set(known))
    return Images(root, sorted(known), None), known, [f"{left} images under {root} are not in {labels} and are not used"] if left else []


def _by_folder(manifest: EngineManifest, root: Path) -> Labelled:
    images, count = find_images(root), _classes(manifest)
    if images.classes is None:
        return images, None, [f"{root} has no class folders, so there is no top-1; --labels CSV names the classes"]
    if count is None:
        return images, None, ["no output of the network is class scores, so class folders tell nothing"]
    return images, by_folder(images, manifest.labels, count), []


def _classes(manifest: EngineManifest) -> int | None:
    """How many classes the first output that is class scores has."""
    sizes = [output.shape[1] for output in manifest.outputs if class_scores(output.shape)]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def skipped(tried: Samples) -> list[str]:
    """A remark on the images that could not be read, once all were tried."""
    if not isinstance(tried, Pictures) or not tried.images.skipped:
        return []
    names = list(tried.images.skipped)
    return [f"skipped {len(names)} of {len(tried)} images that cannot be used: {listed(names)}"]


def preprocess_ms(tried: Samples) -> float | None:
    """The mean milliseconds that an image's decoding and preprocessing took; None where there were no images."""
    if not isinstance(tried, Pictures) or not tried.images.seconds:
        return None
    return 1000 * mean(tried.images.seconds.values())
