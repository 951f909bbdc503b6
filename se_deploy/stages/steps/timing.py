"""Two graphs in ONNX Runtime side by side."""

from __future__ import annotations

from statistics import median

import numpy as np
from onnx import ModelProto

from se_deploy.artifacts import Progress
from se_deploy.stages.steps.gates import opened
from se_deploy.verify.latency import interleaved, warmed
from se_deploy.verify.samples import Pictures

WARMUP, DURATION = 0.1, 0.5


def beside(one: ModelProto, other: ModelProto, tried: Pictures, progress: Progress) -> tuple[float, float]:
    """The median milliseconds of each, measured in turns on one image (or a batch, where the network's is fixed)."""
    fixed = tried.spec.shape[0]
    feeds = next(tried.chunks(1)).feeds
    feeds = {name: np.repeat(value, fixed if isinstance(fixed, int) else 1, axis=0) for name, value in feeds.items()}
    with opened(one) as first, opened(other) as second:
        calls = {"one": lambda: first.run(feeds), "other": lambda: second.run(feeds)}
        blocks = interleaved(calls, warmed(calls, WARMUP), duration=DURATION, what="measure both in turns", progress=progress)
    times = [median(value for block in blocks[name] for value in block) for name in ("one", "other")]
    return times[0], times[1]
