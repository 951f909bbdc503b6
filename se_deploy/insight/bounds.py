"""Sound bounds of a gate by interval arithmetic (Moore, "Interval Analysis", 1966), from the range of its pooled input.

Every step is taken in FP64 and its interval widened by more than FP32 rounding can move the value, so that what a graph computes in
FP32 stays inside too. Bounds are per channel and treat channels as independent: sound, not tight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_deploy import op

Float = NDArray[np.float64]

#: FP32's unit roundoff.
U = 2.0**-24
#: Stands for infinity inside curves; what comes near it is infinity again.
_HUGE = 1e30


@dataclass(frozen=True)
class Box:
    """An interval per channel, (C,) each."""

    low: Float
    high: Float

    def wider(self, by: Float | float) -> Box:
        """Widened on both sides, outwards to the next number."""
        return Box(np.nextafter(self.low - by, -np.inf), np.nextafter(self.high + by, np.inf))

    def peak(self) -> Float:
        """The largest magnitude."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def layer(box: Box, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Box:
    """W v + b for v in the box; W (out, in).

    A sum of n products in FP32, in whatever order, is off by at most n u / (1 - n u) times the sum of magnitudes (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2002, equation 3.5).
    """
    w, b = weight.astype(np.float64), bias.astype(np.float64)
    up, down = np.maximum(w, 0), np.minimum(w, 0)
    made = Box(_sum(up, box.low) + _sum(down, box.high) + b, _sum(up, box.high) + _sum(down, box.low) + b)
    made = Box(
        np.nan_to_num(made.low, nan=-np.inf, posinf=np.inf, neginf=-np.inf),
        np.nan_to_num(made.high, nan=np.inf, posinf=np.inf, neginf=-np.inf),
    )
    terms = w.shape[1] + 2
    return made.wider(terms * U / (1 - terms * U) * (_sum(np.abs(w), box.peak()) + np.abs(b)))


def _sum(weight: Float, value: Float) -> Float:
    """A product in which 0 times infinity is 0: a weight of zero does not look at its input."""
    if np.isfinite(value).all():
        return np.asarray(weight @ value)
    return np.asarray(np.where(weight == 0, 0.0, weight * np.where(weight == 0, 0.0, value[None])).sum(1))


def gate(variant: op.Variant, pooled: Box, weights: Mapping[str, NDArray[np.float32]], attributes: Mapping[str, float]) -> Box:
    """The gate's bounds, (C,) each, for every pooled vector in the box.

    Args:
        variant: which SqueezeExcite.
        pooled: the range of each channel's mean.
        weights: w1, b1, w2, b2, slope, as far as the variant has them.
        attributes: alpha, beta, leak, as far as the variant has them.
    """
    hidden = pooled
    if variant.act != "none":
        hidden = act(variant.act, layer(pooled, weights["w1"], weights["b1"]), attributes, weights.get("slope"))
    return squashed(variant.gate, layer(hidden, weights["w2"], weights["b2"]), attributes)


#: Where curves that are not monotone turn, and the least value there: x sigmoid(x), x hardsigmoid(x), x Phi(x), its tanh form.
_TURNS: dict[str, tuple[float, Callable[[Float], Float]]] = {
    "silu": (-1.2784645, lambda v: v / (1 + np.exp(-np.clip(v, -700, 700)))),
    "hardswish": (-1.5, lambda v: v * np.clip(v / 6 + 0.5, 0, 1)),
    "gelu": (-0.7517915, lambda v: v * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(v / math.sqrt(2)))),
    "gelu_tanh": (-0.7524614, lambda v: v * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))),
}


def act(kind: str, box: Box, attributes: Mapping[str, float], slope: NDArray[np.float32] | None = None) -> Box:
    """An activation of every value in the box."""
    match kind:
        case "none":
            return box
        case "relu":
            return Box(np.maximum(box.low, 0), np.maximum(box.high, 0))
        case "relu6":
            return Box(np.clip(box.low, 0, 6), np.clip(box.high, 0, 6))
        case "leaky" | "prelu":
            factor = np.asarray(attributes["leak"] if kind == "leaky" else slope, np.float64)
            return _turning(box, 0.0, lambda v: np.where(v < 0, factor * v, v))
        case "silu" | "hardswish" | "gelu" | "gelu_tanh":
            return _turning(box, *_TURNS[kind])
    raise ValueError(kind)


def _turning(box: Box, turn: float, curve: Callable[[Float], Float]) -> Box:
    """A curve that is monotone on either side of one turn: its extremes are at the ends, or at the turn where that is inside.

    Left of the turn these curves fall towards -infinity's limit 0 (or rise, for a slope above 0): the ends tell either way.
    """
    finite = Box(np.clip(box.low, -_HUGE, _HUGE), np.clip(box.high, -_HUGE, _HUGE))
    points = [curve(finite.low), curve(finite.high), curve(np.clip(turn, finite.low, finite.high))]
    made = Box(np.minimum.reduce(points), np.maximum.reduce(points))
    made = made.wider(64 * U * np.maximum(finite.peak(), made.peak()) + 1e-9)
    reached = np.abs(made.low) > _HUGE / 1e6, np.abs(made.high) > _HUGE / 1e6
    return Box(np.where(reached[0], -np.inf, made.low), np.where(reached[1], np.inf, made.high))


def squashed(kind: str, box: Box, attributes: Mapping[str, float]) -> Box:
    """The gate's curve, monotone; tanh with a negative factor turns the interval over."""
    if kind == "sigmoid":
        curve: Callable[[Float], Float] = lambda v: 1 / (1 + np.exp(-np.clip(v, -700, 700)))  # noqa: E731
    elif kind == "hardsigmoid":
        curve = lambda v: np.clip(attributes["alpha"] * v + attributes["beta"], 0, 1)  # noqa: E731
    else:
        curve = lambda v: attributes["alpha"] * np.tanh(v) + attributes["beta"]  # noqa: E731
    ends = [curve(np.clip(end, -_HUGE, _HUGE)) for end in (box.low, box.high)]
    low, high = limits(kind, attributes)
    made = Box(np.minimum(*ends), np.maximum(*ends)).wider(64 * U * max(1.0, abs(low), abs(high)))
    if kind == "tanh":  # in FP32 its ends may be rounded outwards
        return made
    return Box(np.clip(made.low, low, high), np.clip(made.high, low, high))


def limits(kind: str, attributes: Mapping[str, float]) -> tuple[float, float]:
    """The lowest and the highest value that a gate of this kind can take."""
    if kind != "tanh":
        return 0.0, 1.0
    alpha, beta = abs(attributes["alpha"]), attributes["beta"]
    return beta - alpha, beta + alpha
