"""Which repairs are on, and which scales follow: each repair only where images that were not measured show that it helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from se_deploy.artifacts import EQUALISED, Repairs, TensorScale, Tried
from se_deploy.quant import ranges, repairs
from se_deploy.quant.observe import Observer
from se_deploy.quant.repairs import LEAST_DB, OUTPUT, OUTPUT_DB, SHIFT, SHIFT_DB, Factors
from se_deploy.quant.tally import Tally
from se_deploy.stages.steps.jury import DB, Jury, better, shiftable

#: Without a jury: so many images have to be measured, and the channels' resolution has to grow by so many dB.
FEW, RESOLVED_DB = 32, 6.0


@dataclass(frozen=True)
class Chosen:
    """What goes into the scale file; remarks on doubtful tensors."""

    tensors: dict[str, TensorScale]
    factors: Factors
    outputs: Factors
    shifted: tuple[str, ...]
    tried: tuple[Tried, ...]
    doubts: tuple[str, ...]

    def repairs(self, images: int) -> Repairs:
        """As the scale file has them."""
        return Repairs(images=images, tried=self.tried, factors=self.factors, outputs=self.outputs, shifted=self.shifted)


def choose(tally: Tally, method: str, jury: Jury | None) -> Chosen:
    """Tries the repairs one upon the other, in the order of `repairs.LEAST_DB`."""
    plain = {name: ranges.choose(name, seen, method) for name, seen in tally.observers.items()}
    scales = {name: scale for name, (scale, _) in plain.items()}
    taken: list[str] = []
    tried: list[Tried] = []
    factors: Factors = {}
    before = jury.judge({}, scales) if jury else None
    for repair in LEAST_DB:
        made = repairs.factors(tally.job.candidates, tally.channels, [*taken, repair])
        if made == factors:
            continue
        tensors = scales | _rescaled(tally, made, method)
        after = jury.judge(made, tensors) if jury else None
        on = better(before, after, LEAST_DB[repair]) if before is not None and after is not None else _by_counts(tally, repair, tensors)
        tried.append(Tried(repair=repair, without_db=_db(before), with_db=_db(after), taken=on))
        if on:
            taken.append(repair)
            factors, before = made, after
    scales |= _rescaled(tally, factors, method)
    outputs, more = _outputs(tally, method, jury, factors, scales)
    shifted, less = _shifted(jury, factors, scales, before)
    tried += [*more, *less]
    scales |= _chosen(repairs.divided(tally.channels, outputs), method)
    return Chosen(scales, factors, outputs, shifted, tuple(tried), tuple(note for _, note in plain.values() if note))


def _outputs(tally: Tally, method: str, jury: Jury | None, factors: Factors, scales: dict[str, TensorScale]) -> tuple[Factors, list[Tried]]:
    """What the unsigned form's outputs are divided by, and what that gained."""
    made = repairs.factors(tally.job.candidates, tally.channels, [OUTPUT])
    if not made:
        return {}, []
    tensors = scales | _chosen(repairs.divided(tally.channels, made), method)
    before, after = (jury.judge(factors, tensors, part) for part in ({}, made)) if jury else (None, None)
    on = before is not None and after is not None and better(before, after, OUTPUT_DB)
    return made if on else {}, [Tried(repair=OUTPUT, without_db=_db(before), with_db=_db(after), taken=on)]


def _shifted(jury: Jury | None, factors: Factors, scales: dict[str, TensorScale], before: DB | None) -> tuple[tuple[str, ...], list[Tried]]:
    """What the signed form shifts, and what that gained."""
    names = shiftable(jury, factors) if jury else ()
    if jury is None or before is None or not names:
        return (), []
    after = jury.judge(factors, scales, shifted=names)
    on = better(before, after, SHIFT_DB)
    return names if on else (), [Tried(repair=SHIFT, without_db=_db(before), with_db=_db(after), taken=on)]


def _rescaled(tally: Tally, made: Factors, method: str) -> dict[str, TensorScale]:
    return _chosen(repairs.rescaled(tally.job.candidates, tally.channels, made), method)


def _chosen(seen: Mapping[str, Observer], method: str) -> dict[str, TensorScale]:
    return {name: ranges.choose(name, observer, method)[0] for name, observer in seen.items()}


def _db(found: DB | None) -> float | None:
    return None if found is None else round(float(found.mean()), 2)


def _by_counts(tally: Tally, repair: str, tensors: dict[str, TensorScale]) -> bool:
    """Without images to judge by: a depthwise convolution's channels are to be resolved finer by RESOLVED_DB, on average over them."""
    if not repair.startswith("depthwise") or len(tally.used) < FEW:
        return False
    made = repairs.factors(tally.job.candidates, tally.channels, [repair])
    finer = []
    for name, divisors in made.items():
        before, after = tensors[name].scale, tensors[f"{name}{EQUALISED}"].scale
        finer.append(np.mean(20 * np.log10(before / (after * np.array(divisors)))))
    return bool(np.mean(finer) >= RESOLVED_DB)


def remarks(chosen: Chosen, jury: Jury | None) -> Sequence[str]:
    """What was taken and what it gained."""
    said = []
    for one in chosen.tried:
        if one.with_db is not None and one.without_db is not None and jury is not None:
            gain = f"{one.without_db:.1f} -> {one.with_db:.1f} dB on {len(jury.feeds)} images kept apart"
            said.append(f"repair {one.repair}: {'on' if one.taken else 'off'}, {gain}")
        elif one.taken:
            said.append(f"repair {one.repair}: on, by the channels' ranges; no images were kept apart to judge it")
    return said
