"""The repairs that can be tried on a graph, by what they are of, and what they make of the measured channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from se_deploy.artifacts import EQUALISED, Record
from se_deploy.quant import outputs
from se_deploy.quant.channels import Channels, equalising
from se_deploy.quant.observe import Observer

#: Repairs in the order in which they are tried, each on top of those taken before; what it must gain in dB to be taken: one that leaves
#: a Mul in the graph costs time, most where a network has none otherwise. One that is taken needs its folded part no more.
LEAST_DB = {"depthwise": 1.0, "depthwise-folded": 0.5, "dense": 1.0, "dense-folded": 0.5}
#: Of the unsigned form alone, whatever was taken before; a Mul stays (`outputs`).
OUTPUT, OUTPUT_DB = "output", 0.5
#: Of the signed form alone; an Add stays.
SHIFT, SHIFT_DB = "shift", 1.0
#: How far channels are made alike: a dense convolution's weights have one scale for all channels that they read, and pay for it.
POWER = {"depthwise": 1.0, "dense": 0.5, OUTPUT: 1.0}


class Equalisable(Record):
    """A tensor whose channels may be made alike, by which repair; `through`: the x of the SE block that gives it."""

    tensor: str
    repair: str
    through: str | None = None


Factors = dict[str, tuple[float, ...]]


def watched(items: Iterable[Equalisable]) -> tuple[str, ...]:
    """The tensors whose channels have to be measured."""
    return tuple(dict.fromkeys(name for item in items for name in (item.through, item.tensor) if name is not None))


def factors(items: Iterable[Equalisable], channels: Mapping[str, Channels], taken: Collection[str]) -> Factors:
    """What the channels of each tensor of the repairs `taken` are divided by; tensors that were never seen to be finite are left out."""
    found: Factors = {}
    for item in items:
        seen = channels[item.tensor]
        if {item.repair, item.repair.removesuffix("-folded")} & set(taken) and len(seen.low) > 1 and seen.peaks.max() > 0:
            found[item.tensor] = tuple(float(f) for f in equalising(seen, POWER[item.repair.removesuffix("-folded")]))
    return found


def divided(channels: Mapping[str, Channels], made: Factors) -> dict[str, Observer]:
    """What is known of the outputs in `made`, by their names."""
    return {f"{name}{outputs.SUFFIX}": channels[name].rescaled(np.array(factors)) for name, factors in made.items()}


def rescaled(items: Iterable[Equalisable], channels: Mapping[str, Channels], made: Factors) -> dict[str, Observer]:
    """What is known of the equalised tensors, by their names."""
    found: dict[str, Observer] = {}
    for item in items:
        if item.tensor in made and item.repair != OUTPUT:
            divisors = np.array(made[item.tensor])
            names = [item.tensor] if item.through is None else [item.through, item.tensor]
            found |= {f"{name}{EQUALISED}": channels[name].rescaled(divisors) for name in names}
    return found
