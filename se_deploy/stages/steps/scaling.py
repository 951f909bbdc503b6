"""From a whole tally to the scale file, and what a user should know of it."""

from __future__ import annotations

from pathlib import Path

from se_deploy import artifacts
from se_deploy.artifacts import Scales
from se_deploy.errors import ImageError, QuantError
from se_deploy.quant import methods, scales
from se_deploy.quant.tally import Tally
from se_deploy.stages.steps import deciding
from se_deploy.stages.steps.jury import Jury

#: Where scale files go when no place is named.
CALIBRATION = Path("calibration")
#: Fewer images than this leave ranges too narrow on most networks.
FEW = 32
#: How many skipped images are named.
NAMED = 5


def check_method(method: str) -> None:
    """Refuses a method that does not exist.

    Raises:
        QuantError: names those that do.
    """
    if method not in methods.NAMES:
        raise QuantError(f"no calibration method is called {method!r}", f"take one of {', '.join(methods.NAMES)}")


def write(tally: Tally, method: str, path: Path, root: Path | None = None, jury: Jury | None = None) -> tuple[str, ...]:
    """Writes the scale file of a tally that is whole; the same tally and jury give the same bytes.

    Args:
        tally: what was seen.
        method: how a scale follows from it.
        path: the scale file.
        root: where the images were, for the error.
        jury: judges repairs; None leaves that to the histograms.

    Returns:
        A remark for each doubtful tensor, and on repairs.

    Raises:
        ImageError: no image could be read.
    """
    if not tally.used:
        place = f" under {root}" if root else ""
        raise ImageError(f"none of the {tally.job.total} images{place} can be read", "give readable images")
    chosen = deciding.choose(tally, method, jury)
    table = Scales(
        graph=tally.job.graph,
        preprocess=tally.job.preprocess,
        images=len(tally.used),
        images_sha256=scales.fingerprint(tally.used[place] for place in sorted(tally.used)),
        method=method,
        tensors=chosen.tensors,
        repairs=chosen.repairs(len(jury.feeds) if jury else 0),
    )
    artifacts.write(table, path)
    return (*chosen.doubts, *deciding.remarks(chosen, jury))


def remarks(tally: Tally, asked: int, *, shard: bool = False) -> tuple[str, ...]:
    """How many of the images asked for were used, skipped and why."""
    used, reasons = len(tally.used), [tally.skipped[place] for place in sorted(tally.skipped)]
    said = [f"calibrated on {used} image(s)" + (f", fewer than {FEW}: ranges may be too narrow" if used < FEW and not shard else "")]
    if reasons:
        more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
        said.append(f"skipped {len(reasons)} of {asked} images: {'; '.join(reasons[:NAMED])}{more}")
    return tuple(said)
