"""Where an engine leaves the reference: errors tensor by tensor, the first place, and each block's share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from se_deploy.artifacts import Precision, Record

#: How far a piece of an engine may be from the reference on the reference's own inputs, |error| / |reference| by 2-norms. A piece that
#: rounds as its precision does stays a factor of five and more below it.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.2}


@dataclass
class Gap:
    """Running sums of one tensor's errors over images."""

    signal: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0
    non_finite: str | None = None

    def add(self, got: NDArray[Any], expected: NDArray[Any]) -> None:
        """One batch; values that are not finite in both are passed over."""
        ours, theirs = got.astype(np.float64), expected.astype(np.float64)
        if ours.shape != theirs.shape:
            self.non_finite = "other shape"
            return
        meant = np.isfinite(theirs)
        bad = meant & ~np.isfinite(ours)
        if bad.any() and self.non_finite is None:
            self.non_finite = "NaN" if np.isnan(ours[bad]).any() else "Inf"
        fine = meant & ~bad
        errors = np.abs(ours[fine] - theirs[fine])
        self.signal += float(np.square(theirs[fine]).sum())
        self.noise += float(np.square(errors).sum())
        self.max_abs = max(self.max_abs, float(errors.max(initial=0.0)))

    @property
    def relative(self) -> float:
        """|error| / |reference|; infinite where the engine alone is not finite or has another shape."""
        if self.non_finite is not None:
            return math.inf
        if self.signal == 0:
            return 0.0 if self.noise == 0 else 1.0
        return math.sqrt(self.noise / self.signal)


class Place(Record):
    """A tensor that engine and plain graph both have, and what makes it.

    Errors are |error| / |reference| by 2-norms over all images; null where the engine alone is not finite (`non_finite` says what).

    Attributes:
        carried: in the engine's own run, with what its earlier layers did; null too where it was not marked.
        own: this piece alone, fed with the reference's tensors.
        output_error: at the outputs of the FP32 network when this piece alone is the engine's; None where that is rounding.
        share: percent of the sum of all places' output errors, in powers.
    """

    tensor: str
    module: str
    block: str | None
    nodes: tuple[str, ...]
    reference_nodes: tuple[str, ...]
    carried: float | None
    own: float | None
    max_abs: float
    non_finite: str | None
    output_error: float | None
    share: float | None


class Share(Record):
    """An SE block or layer: its share of the error at the outputs, in percent, and the error it alone causes there."""

    name: str
    share: float
    output_error: float


class OutputGap(Record):
    """An output of the engine as it runs, unmarked, against the reference's."""

    name: str
    error: float | None
    max_abs: float
    non_finite: str | None


class Bisection(Record):
    """What `bisect` returns."""

    engine: str
    backend: str
    precision: Precision
    images: int
    tolerance: float
    outputs: tuple[OutputGap, ...]
    #: The first place that leaves the reference by itself ("own"), or, where none does, the first that earlier errors carry away.
    first: Place | None
    kind: Literal["own", "carried"] | None
    shares: tuple[Share, ...]
    places: tuple[Place, ...]
    saved: Path | None
    seconds: float
    #: Remarks a user should read; printed on stderr, not part of the JSON.
    notes: tuple[str, ...] = Field(default=(), exclude=True)


def first(places: Sequence[Place], tolerance: float) -> tuple[Place | None, Literal["own", "carried"] | None]:
    """The first place beyond the tolerance, in the engine's order, and whether it is its own doing."""
    own = next((place for place in places if _beyond(place.own, place, tolerance)), None)
    if own is not None:
        return own, "own"
    carried = next((place for place in places if place.carried is not None and place.carried > tolerance), None)
    return carried, None if carried is None else "carried"


def _beyond(error: float | None, place: Place, tolerance: float) -> bool:
    return place.non_finite is not None if error is None else error > tolerance


def finite(value: float) -> float | None:
    """As JSON can have it."""
    return value if math.isfinite(value) else None


def shared(places: Sequence[Place]) -> tuple[Share, ...]:
    """Places put together by SE block, else by module; the largest share first."""
    powers: dict[str, float] = {}
    for place in places:
        if place.output_error is not None:
            name = place.block or place.module
            powers[name] = powers.get(name, 0.0) + place.output_error**2
    total = sum(powers.values()) or 1.0
    found = [Share(name=name, share=100 * power / total, output_error=math.sqrt(power)) for name, power in powers.items()]
    return tuple(sorted(found, key=lambda share: -share.share))
