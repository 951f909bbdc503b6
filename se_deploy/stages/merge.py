"""`calibrate --merge`: the histograms of all shards to the scale file that one run over all images writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from se_deploy.artifacts import Result, peak_rss_mb
from se_deploy.errors import QuantError
from se_deploy.files import replacing
from se_deploy.quant import tally
from se_deploy.stages.steps import scaling


def merge(files: Sequence[str | Path], *, output: str | Path | None = None, method: str = "auto") -> Result:
    """Joins what `calibrate(shard="I/N")` wrote; neither the model nor an image is needed.

    Args:
        files: the histograms of every shard of one run, in any order.
        output: the scale file; default calibration/<name>.json.
        method: as `calibrate`'s.

    Raises:
        QuantError: a file is missing or no histogram file, they are of different runs, a shard is missing or named twice, or the
            method is unknown.
        ImageError: no image of any shard could be read.
    """
    started = time.perf_counter()
    scaling.check_method(method)
    if not files:
        raise QuantError("no histogram file to merge", "name what `se-deploy calibrate --shard I/N` wrote")
    whole = tally.join([(Path(file), tally.read(Path(file))) for file in files])
    out = Path(output) if output is not None else scaling.CALIBRATION / f"{Path(whole.job.name).name}.json"
    with replacing(out) as beside:
        doubts = scaling.write(whole, method, beside)
    return Result(
        output=out,
        se_blocks=whole.job.se_blocks,
        images=len(whole.used),
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=(*scaling.remarks(whole, whole.job.total), *doubts),
    )
