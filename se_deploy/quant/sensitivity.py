"""Which nodes INT8 hurts, and the fewest of them that have to stay in float.

A unit is what falls back as one: a layer with weights, a residual Add, or (where SE blocks read and give int8) a SqueezeExcite node.
Units are ordered by the answers' SQNR when *only that unit* is in INT8. Ordering by what returning one unit to float gains is worse:
beside the noise of all others the gain drowns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy import op
from se_deploy.quant import sites

#: The most that is said of answers that INT8 does not change, in dB; answers that are not finite have the opposite.
MOST_DB = 200.0


@dataclass(frozen=True)
class Unit:
    """A node that falls back as one; `layer`: it has weights."""

    name: str
    op: str
    layer: bool


def units(model: ModelProto, *, blocks: bool) -> list[Unit]:
    """Every unit of a fused FP32 graph whose nodes have names, in the graph's order; `blocks` as of `sites.find`."""
    found, known = sites.find(model, blocks=blocks), sites.constants(model)
    layers = {layer.index for layer in found.layers}
    read = {index for uses in found.tensors.values() for index, _ in uses}
    given = []
    for index, node in enumerate(model.graph.node):
        is_block = blocks and op.variant_of(node) is not None
        if index in layers or (index in read and (is_block or sites.is_residual(node, known))):
            given.append(Unit(node.name, node.op_type, index in layers))
    return given


def sqnr_db(wanted: NDArray[Any], got: NDArray[Any]) -> float:
    """Signal over error of scores (images, classes) in dB, within ±200.

    The signal is what differs between images (the mean over them is taken off), so that a constant answer earns nothing.
    """
    if not np.isfinite(got).all():
        return -MOST_DB
    wanted, got = wanted.astype(np.float64), got.astype(np.float64)
    signal, error = np.square(wanted - wanted.mean(0)).sum(), np.square(got - wanted).sum()
    if error == 0:
        return MOST_DB
    return float(np.clip(10 * math.log10(max(signal, 1e-300) / error), -MOST_DB, MOST_DB))


def candidates(ranked: Sequence[Unit]) -> list[str]:
    """The names of those that may fall back: all but the least sensitive layer, without which nothing would be in INT8."""
    last = next((unit.name for unit in reversed(ranked) if unit.layer), None)
    return [unit.name for unit in ranked if unit.name != last]


def fewest(order: Sequence[str], holds: Callable[[frozenset[str]], bool]) -> frozenset[str] | None:
    """As few units as possible whose fallback makes the bound hold; None where even all of them do not.

    So many from the front of `order` as are needed (found by doubling, then by bisection); then each of them that is not needed goes
    back to INT8, the least sensitive first. So none of those that are left can be spared.
    """
    if holds(frozenset()):
        return frozenset()
    fails, enough = 0, 1
    while enough <= len(order) and not holds(frozenset(order[:enough])):
        if enough == len(order):
            return None
        fails, enough = enough, min(2 * enough, len(order))
    if enough > len(order):
        return None
    while enough - fails > 1:
        middle = (fails + enough) // 2
        if holds(frozenset(order[:middle])):
            enough = middle
        else:
            fails = middle
    chosen = frozenset(order[:enough])
    for name in reversed(order[: enough - 1]):
        if holds(chosen - {name}):
            chosen -= {name}
    return chosen
