"""One rule a file: the two skeletons of an SE block, what may stand behind it, and what must not be taken for one."""

from __future__ import annotations

from dataclasses import dataclass

from se_deploy.graph.curves import Activation, Gate
from se_deploy.graph.forms import Array, Pool


@dataclass(frozen=True)
class Miss:
    """Why a rule does not hold: an id of `reasons.REASONS`, and what is special about this place."""

    id: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a skeleton is made of: the pool, FCs as (weight, bias), what stands between and behind them."""

    pool: Pool
    layers: tuple[tuple[Array, Array], ...]
    activation: Activation
    gate: Gate
