"""Single channels of blocks that stay: those with constant gates are folded where that changes next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy.graph.narrow import Channels, Narrowed, narrow
from se_deploy.insight.folding import FoldedChannels
from se_deploy.insight.summary import TINY, Watched

#: A channel is constant within the first of these shares of the gate's range for which folding such channels changes little.
WITHIN = (TINY, TINY / 100)

Judged = Callable[[ModelProto], bool]


def narrowed(model: ModelProto, blocks: Sequence[Watched], fine: Judged) -> tuple[ModelProto, tuple[FoldedChannels, ...]]:
    """Narrows one block after the other; one that changes the answers stays as it is.

    Args:
        model: the model so far.
        blocks: those that are still in it.
        fine: whether a model is within the bound and close to what it was.
    """
    done = []
    for block in blocks:
        made = _narrowed(model, block, fine)
        if made is not None:
            model = made.model
            done.append(FoldedChannels(name=block.name, folded=made.folded, removed=made.removed, units=made.units))
    return model, tuple(done)


def _narrowed(model: ModelProto, block: Watched, fine: Judged) -> Narrowed | None:
    tried: NDArray[np.bool_] | None = None
    seen = block.moments
    for within in WITHIN:
        still = np.asarray(seen.high - seen.low <= within * (seen.range[1] - seen.range[0]))
        if not still.any() or (tried is not None and (still == tried).all()):
            continue
        tried = still
        pooled = (seen.pooled_sum / seen.images).astype(np.float32)
        made = narrow(model, block.name, Channels(seen.overall().astype(np.float32), still, pooled))
        if made is not None and fine(made.model):
            return made
    return None
