"""`calibrate --merge`: the histograms of all shards to the scale file that one run over all images writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from se_deploy.artifacts import Result, peak_rss_mb
from se_deploy.errors import ImageError, QuantError
from se_deploy.files import replacing
from se_deploy.quant import tally
from se_deploy.quant.tally import Tally
from se_deploy.stages.steps import exported, jury, scaling
from se_deploy.stages.steps.jury import Jury


def merge(
    files: Sequence[str | Path],
    *,
    model: str | Path | None = None,
    calib: str | Path | None = None,
    output: str | Path | None = None,
    method: str = "auto",
) -> Result:
    """Joins what `calibrate(shard="I/N")` wrote. With the images the scale file is that of one run over all of them; without, repairs
    are judged by the histograms alone, and neither the model nor an image is needed.

    Args:
        files: the histograms of every shard of one run, in any order.
        model: the model directory or its model.onnx, read where `calib` is given; None takes the newest export under engines/.
        calib: the folder of images of the shards; those that no shard measured judge the repairs.
        output: the scale file; default calibration/<name>.json.
        method: as `calibrate`'s.

    Raises:
        QuantError: a file is missing or no histogram file, they are of different runs or of another model, a shard is missing or named
            twice, or the method is unknown.
        ArtifactError: there is no such model, or it has changed since its export.
        ImageError: no image of any shard could be read.
    """
    started = time.perf_counter()
    scaling.check_method(method)
    if not files:
        raise QuantError("no histogram file to merge", "name what `se-deploy calibrate --shard I/N` wrote")
    whole = tally.join([(Path(file), tally.read(Path(file))) for file in files])
    judges = _jury(whole, model, Path(calib)) if calib is not None else None
    out = Path(output) if output is not None else scaling.CALIBRATION / f"{Path(whole.job.name).name}.json"
    with replacing(out) as beside:
        doubts = scaling.write(whole, method, beside, jury=judges)
    return Result(
        output=out,
        se_blocks=whole.job.se_blocks,
        images=len(whole.used),
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=(*scaling.remarks(whole, whole.job.total), *doubts),
    )


def _jury(whole: Tally, model: str | Path | None, calib: Path) -> Jury | None:
    """The images that no shard measured.

    Raises:
        QuantError: the model is another one.
        ImageError: the images are not under `calib`.
    """
    source = exported.find(model)
    if source.manifest.model.sha256 != whole.job.graph:
        raise QuantError(f"the shards are of another graph than {source.model}", "name the model that they were made of")
    missing = [name for name in whole.job.held if not (calib / name).is_file()]
    if missing:
        what = f"{len(missing)} of the {len(whole.job.held)} images that the shards kept apart are not under {calib}, first {missing[0]}"
        raise ImageError(what, "name the folder that the shards were made of")
    return jury.of(source, whole.job, calib)
