"""Which words of a call exclude each other: asked where the call begins, and by `run` where its file is read."""

from __future__ import annotations

from pathlib import Path

from se_deploy.artifacts import Precision
from se_deploy.errors import Contradiction, QuantError
from se_deploy.insight.folding import Bound


def precision(fp32: bool, fp16: bool, int8: bool, calib: object, scales: object) -> Precision | None:
    """The one precision asked for, if any; refuses what contradicts it."""
    flags: dict[Precision, bool] = {"fp32": fp32, "fp16": fp16, "int8": int8}
    asked = [precision for precision, wanted in flags.items() if wanted]
    if len(asked) > 1:
        raise Contradiction(f"{' and '.join(asked)} exclude each other")
    if (calib is not None or scales is not None) and not (int8 or fp16):
        raise Contradiction("calib and scales are for int8 and fp16")
    if calib is not None and scales is not None:
        raise Contradiction("calib and scales exclude each other")
    if int8 and calib is None and scales is None:
        raise QuantError("INT8 needs scales, and they are never made from random data", "add --calib DIR with images, or --scales FILE")
    return asked[0] if asked else None


def bound(max_drop: float | None, min_agreement: float | None, data: object, int8: bool) -> Bound | None:
    """What INT8 has to keep; refuses what contradicts it."""
    if max_drop is None and min_agreement is None:
        if data is not None:
            raise Contradiction("data is for max_drop or min_agreement")
        return None
    if not int8:
        raise Contradiction("max_drop and min_agreement are for int8")
    if max_drop is not None and min_agreement is not None:
        raise Contradiction("max_drop and min_agreement exclude each other")
    if not 0 <= (max_drop if max_drop is not None else min_agreement or 0) <= 100:
        raise Contradiction("max_drop and min_agreement are percentages from 0 to 100")
    return Bound(max_drop, min_agreement)


def package(
    triton: str | Path | None = None,
    cpp: str | Path | None = None,
    name: str | None = None,
    version: int = 1,
    max_batch: int | None = None,
    instances: int = 1,
    ensemble: bool = False,
    kserve: bool = False,
    storage: str | None = None,
    container: str | None = None,
) -> None:
    """Refuses words that are not for what is written."""
    if (triton is None) == (cpp is None):
        raise Contradiction("say what to write: triton or cpp")
    if cpp is not None and (ensemble or kserve or name or container or max_batch or version != 1 or instances != 1):
        raise Contradiction("with cpp, force is the only other word: the rest is for triton")
    if storage is not None and not kserve:
        raise Contradiction("storage is for kserve")
