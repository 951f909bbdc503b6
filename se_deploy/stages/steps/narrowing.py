"""Single channels of blocks that stay: those with constant gates are folded where the bound allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ModelProto

from se_deploy.graph.narrow import Channels, narrow
from se_deploy.insight.folding import Bound, FoldedChannels, Score
from se_deploy.insight.summary import Watched, constant


def narrowed(
    model: ModelProto, blocks: Sequence[Watched], score: Callable[[ModelProto], Score], bound: Bound
) -> tuple[ModelProto, tuple[FoldedChannels, ...]]:
    """Narrows one block after the other; one that breaks the bound stays as it is.

    Args:
        model: the model so far.
        blocks: those that are still in it.
        score: judges a model.
        bound: what must hold.
    """
    done = []
    for block in blocks:
        still = constant(block.moments)
        if not still.any():
            continue
        pooled = block.moments.pooled_sum / block.moments.images
        channels = Channels(block.moments.overall().astype(np.float32), still, pooled.astype(np.float32))
        made = narrow(model, block.name, channels)
        if made is not None and bound.holds(score(made.model)):
            model = made.model
            done.append(FoldedChannels(name=block.name, folded=made.folded, removed=made.removed, units=made.units))
    return model, tuple(done)
