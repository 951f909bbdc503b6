"""INT8 against FP32 on this machine, as a build ends: on a CPU INT8 may well be the slower one, and that is said."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from numpy.typing import NDArray

from se_deploy.artifacts import silent
from se_deploy.backends import Backend
from se_deploy.verify.intervals import ratio
from se_deploy.verify.latency import interleaved, warmed

#: Seconds for each of the two, and the turns they take.
WARMUP, DURATION, TURNS = 0.1, 0.3, 5


def compared(backend: Backend, int8: Path, fp32: Path, feeds: Mapping[str, NDArray[Any]]) -> str:
    """What INT8 takes against FP32 on the same inputs, measured in turns.

    Args:
        backend: of both; it runs here.
        int8: an engine.
        fp32: the model that it was made from; its engine is built in a temporary folder beside `int8` for the time of measuring.
        feeds: one batch.

    Returns:
        A sentence with the median of each in milliseconds, and their ratio with its 95 % interval.

    Raises:
        BackendError: the backend refuses the model in FP32.
    """
    with tempfile.TemporaryDirectory(dir=int8.parent) as folder:
        plain = Path(folder) / f"engine{backend.suffix}"
        backend.build(fp32, plain, silent)
        with backend.open(int8) as one, backend.open(plain) as other:
            calls = {"int8": partial(one.run, feeds), "fp32": partial(other.run, feeds)}
            blocks = interleaved(calls, warmed(calls, WARMUP), duration=DURATION, turns=TURNS)
    # The median of a block: on a busy machine a mean says how often something else was running.
    typical = {name: [median(block) for block in measured] for name, measured in blocks.items()}
    return said(typical["int8"], typical["fp32"], next(iter(feeds.values())).shape[0])


def said(int8: Sequence[float], fp32: Sequence[float], batch: int) -> str:
    """The sentence about milliseconds of paired turns, three of them at least; it calls nothing faster that the interval does not show."""
    found = ratio(int8, fp32)
    times = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] times"
    numbers = f"{median(int8):.3g} against {median(fp32):.3g} ms at batch {batch}, {times}"
    if found.low > 1:
        return f"INT8 is slower than FP32 on this machine: {numbers}"
    if found.high < 1:
        return f"INT8 is faster than FP32 on this machine: {numbers}"
    return f"INT8 is not shown to be faster than FP32 on this machine: {numbers}"
