"""Tensors that hold other values in the engine on purpose: what is divided in one layer and multiplied back in the next.

Equalising a network for INT8 does that, and no name of a tensor says so. Such a tensor differs, and what is made of it agrees.
"""

from __future__ import annotations

from se_deploy.graph.segments import regrown
from se_deploy.stages.steps.bisecting import Bench

#: How many layers on the values may be set right: a convolution, its activation, and one between them.
ROUNDS = 3


def find(bench: Bench, limit: float) -> frozenset[str]:
    """The rescaled tensors before the first piece that leaves the reference for good.

    Args:
        bench: after `replay`.
        limit: how far a piece may be from the reference.
    """
    gone: set[str] = set()
    for segment in bench.segments:
        if segment.output in gone or bench.found[segment.output].own.relative <= limit:
            continue
        chain = _chain(bench, segment.output, limit)
        if chain is None:
            break
        gone |= chain
    return frozenset(gone)


def _chain(bench: Bench, start: str, limit: float) -> set[str] | None:
    """The tensor and those behind it that differ with it, if what is made of them agrees; None if nothing sets them right."""
    chain = {start}
    for _ in range(ROUNDS):
        if chain & bench.plain.outputs:
            return None
        shared = {segment.output for segment in bench.segments} - chain
        heirs = [segment for segment in bench.segments if segment.output in shared and chain & {*segment.engine.inputs}]
        grown = [regrown(segment, bench.engine, bench.plain, shared) for segment in heirs]
        bad = {segment.output for segment, gap in zip(grown, bench.alone(grown), strict=True) if gap.relative > limit}
        if not bad:
            return chain if heirs else None
        chain |= bad
    return None
