"""What engines are tried on: the export's probes, or a user's images with their labels where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from se_deploy.artifacts import EngineManifest
from se_deploy.errors import ImageError
from se_deploy.images import Images, check_channels, find_images
from se_deploy.stages.steps.engines import Built
from se_deploy.verify.classes import class_scores
from se_deploy.verify.labels import by_csv, by_folder, listed
from se_deploy.verify.samples import Pictures, Samples

if TYPE_CHECKING:
    from se_deploy.stages.steps.reference import Reference

#: Images, their class indices where they are known, and remarks.
Labelled = tuple[Images, dict[Path, int] | None, list[str]]


def choose(engine: Built, reference: Reference, data: str | Path | None, labels: str | Path | None) -> tuple[Samples, list[str]]:
    """The samples, and remarks on what they can tell.

    Raises:
        ImageError: no image, or images or labels that contradict the network.
    """
    manifest = engine.manifest
    if data is None and labels is None:
        count = len(reference.probes)
        return reference.probes, [f"accuracy is on the {count} probe inputs of the export; real images tell more: --data DIR"]
    if len(manifest.inputs) != 1 or len(manifest.inputs[0].shape) != 4:
        shapes = ", ".join(f"{i.name} {list(i.shape)}" for i in manifest.inputs)
        raise ImageError(f"{engine.path} takes {shapes}, not one batch of images (N, C, H, W)", "leave --data out")
    spec = manifest.inputs[0]
    if isinstance(spec.shape[1], int):
        check_channels(manifest.preprocess, spec.shape[1])
    by = _by_folder(manifest, Path(data or "")) if labels is None else _by_csv(manifest, data, Path(labels))
    images, known, notes = by
    return Pictures(images, images.paths, known, spec, manifest.preprocess), notes


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
