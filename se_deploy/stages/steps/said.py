"""Remarks on what gates and coverage show."""

from __future__ import annotations

from collections.abc import Iterator

from se_deploy.insight.report import GateReport
from se_deploy.verify.labels import listed
from se_deploy.verify.samples import Pictures

#: Percent of a tensor's values beyond the calibrated range, or of images with such a value, from which there is a warning.
WARN_VALUES, WARN_IMAGES = 0.1, 5.0
#: Fewer images of a class than this make class specificity mostly chance.
FEW = 10


def remarks(report: GateReport, tried: Pictures) -> Iterator[str]:
    """One sentence each."""
    skipped = list(tried.images.skipped)
    if skipped:
        yield f"skipped {len(skipped)} of {len(tried)} images that cannot be used: {listed(skipped)}"
    if len(report.classes) == 1:
        yield f"{tried.images.root} has no class folders: nothing is said per class"
    elif min(c.images for c in report.blocks[0].classes) < FEW:
        yield f"a class has fewer than {FEW} images: its share of the variance is partly chance"
    if any(block.class_means is None for block in report.blocks):
        yield "classes times channels are too many for the report: --csv writes them to gates.csv"
    yield from coverage(report)


def coverage(report: GateReport) -> Iterator[str]:
    """The warning, where images go beyond what was calibrated on."""
    if report.coverage is None:
        yield "no scale file of this graph: nothing is said of what calibration images cover (--scales FILE names one)"
        return
    beyond = [t for t in report.coverage.tensors if t.values_beyond > WARN_VALUES or t.images_beyond > WARN_IMAGES]
    if beyond:
        worst = beyond[0]
        yield (
            f"warning: {len(beyond)} of {len(report.coverage.tensors)} tensors go beyond the range of the {report.coverage.calibrated_on} "
            f"calibration images ({report.coverage.scales}), most of all {worst.tensor}: {worst.values_beyond:.3g} % of values, "
            f"{worst.images_beyond:.3g} % of images; calibrate on images like these"
        )
