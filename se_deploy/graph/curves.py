"""Functions of one variable, as elementwise nodes compute them, and what they turn out to be.

An activation is known by what it does, not by how it is spelled: its nodes are evaluated on a grid and compared with the activations
of `op.py`. `x * clip(x + 3, 0, 6) / 6`, `x * HardSigmoid(x)` and HardSwish are then the same thing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy import op

Array = NDArray[np.float64]

#: Where curves are compared: densely around zero, where they bend, and far out on both sides.
_FAR = np.logspace(-3, 4, 36)
GRID: Array = np.unique(np.concatenate([np.linspace(-12, 12, 193), _FAR, -_FAR]))[:, None]

#: A converter's 1/6 may be 0.166666701, and constants are FP32: relative and absolute difference of curves taken as equal.
_CLOSE = 2e-6

#: Longer chains of elementwise nodes are no activation.
_MAX_STEPS = 48


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of v, evaluated from its arguments. `affine` is (k, c) where it is k v + c; constants may be per channel."""

    function: Callable[..., Any] | None = None
    args: tuple[Curve | Array, ...] = ()
    affine: tuple[Array, Array] | None = None
    ops: frozenset[str] = frozenset()
    steps: int = 0

    def __call__(self, points: Array) -> Array:
        """Its values at points (P, 1): (P, 1), or (P, channels) where a constant is per channel."""
        done: dict[int, Array] = {}

        def value(curve: Curve) -> Array:
            if curve.function is None:
                return points
            if id(curve) not in done:
                read = [value(a) if isinstance(a, Curve) else a for a in curve.args]
                done[id(curve)] = np.asarray(curve.function(*read), np.float64)
            return done[id(curve)]

        with np.errstate(all="ignore"):
            return value(self)


def scalar(value: float) -> Array:
    """A constant of a curve."""
    return np.asarray(value, np.float64)


#: The variable itself.
VARIABLE = Curve(affine=(scalar(1), scalar(0)))


def _clip(v: Array, low: Array | float = -math.inf, high: Array | float = math.inf) -> Array:
    return np.asarray(np.minimum(np.maximum(v, low), high))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _logistic(v: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -v)))


def _gelu(v: Array, tanh: bool = False) -> Array:
    inner = np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)) if tanh else _erf(v * math.sqrt(0.5))
    return np.asarray(0.5 * v * (1 + inner))


def _elu(v: Array, alpha: float = 1.0, gamma: float = 1.0) -> Array:
    return gamma * np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0)))


def _hardsigmoid(v: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return _clip(alpha * v + beta, 0, 1)


def _leaky(v: Array, alpha: Array | float = 0.01) -> Array:
    return np.where(v < 0, alpha * v, v)


#: By operator: its value from its inputs' values; attributes come in by keyword.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sum": lambda *v: functools.reduce(np.add, v),
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Min": lambda *v: functools.reduce(np.minimum, v),
    "Max": lambda *v: functools.reduce(np.maximum, v),
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Exp": np.exp,
    "Log": np.log,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": _logistic,
    "HardSigmoid": _hardsigmoid,
    "HardSwish": lambda v: v * _hardsigmoid(v, 1 / 6, 0.5),
    "Relu": lambda v: np.maximum(v, 0),
    "LeakyRelu": _leaky,
    "PRelu": _leaky,
    "Elu": _elu,
    "Selu": lambda v, alpha=1.6732632, gamma=1.0507010: _elu(v, alpha, gamma),
    "Celu": lambda v, alpha=1.0: np.where(v > 0, v, alpha * np.expm1(np.minimum(v, 0) / alpha)),
    "Clip": _clip,
    "Softplus": lambda v: np.logaddexp(0.0, v),
    "Softsign": lambda v: v / (1 + np.abs(v)),
    "Mish": lambda v: v * np.tanh(np.logaddexp(0.0, v)),
    "Swish": lambda v, alpha=1.0: v * _logistic(alpha * v),
    "Gelu": lambda v, approximate=b"none": _gelu(v, approximate == b"tanh"),
    "ThresholdedRelu": lambda v, alpha=1.0: np.where(v > alpha, v, 0),
}
ELEMENTWISE = frozenset(_FUNCTIONS)

#: What makes a gate of a vector: without one of these (and without an FC) it is a statistic, such as a normalisation's.
SQUASHING = frozenset({"Sigmoid", "HardSigmoid", "Tanh", "Clip", "Softmax", "HardSwish", "Exp", "Min", "Max", "Relu"})


def apply(name: str, args: tuple[Curve | Array, ...], attributes: Mapping[str, Any]) -> Curve | None:
    """The curve that an elementwise node makes of its inputs; None where it is too long to be an activation."""
    curves = [a for a in args if isinstance(a, Curve)]
    steps = 1 + sum(c.steps for c in curves)
    if steps > _MAX_STEPS:
        return None
    known = {{"min": "low", "max": "high"}.get(k, k) if name == "Clip" else k: v for k, v in attributes.items()}
    function = _FUNCTIONS[name]
    ops = frozenset({name}).union(*(c.ops for c in curves))
    return Curve(lambda *v: function(*v, **known), args, _affine(name, args), ops, steps)


def _affine(name: str, args: tuple[Curve | Array, ...]) -> tuple[Array, Array] | None:
    """(k, c) of the result, where the node is a sum or a product with a constant and its argument is k v + c."""
    pairs = [a.affine if isinstance(a, Curve) else (np.zeros(()), a) for a in args]
    known = [p for p in pairs if p is not None]
    if len(known) != len(pairs):
        return None
    match name, known:
        case "Neg", [(k, c)]:
            return -k, -c
        case "Add" | "Sum", [(k, c), (m, d)]:
            return k + m, c + d
        case "Sub", [(k, c), (m, d)]:
            return k - m, c - d
        case "Mul", [(k, c), (m, d)] if not m.any() or not k.any():
            return k * d + m * c, c * d
        case "Div", [(k, c), (m, d)] if not m.any() and d.all():
            return k / d, c / d
    return None


def _equal(a: Array, b: Array) -> bool:
    return bool(np.allclose(a, b, rtol=_CLOSE, atol=_CLOSE))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": _FUNCTIONS["Relu"],
    "relu6": lambda v: _clip(v, 0, 6),
    "silu": lambda v: v * _logistic(v),
    "hardswish": _FUNCTIONS["HardSwish"],
    "gelu": _gelu,
    "gelu_tanh": lambda v: _gelu(v, True),
}
assert set(_ACTIVATIONS) | {"none", "leaky", "prelu"} == set(op.ACTS)
_EXPECTED = {name: function(GRID) for name, function in _ACTIVATIONS.items()}


@dataclass(frozen=True)
class Activation:
    """What a curve between the FCs is: a word of `op.ACTS`, `leak` for leaky, `slope` (R,) for prelu."""

    act: str
    attributes: dict[str, float] = field(default_factory=dict)
    slope: NDArray[np.float32] | None = None


def activation(curve: Curve) -> Activation | None:
    """The activation that a curve is; None for one that the node does not have."""
    values = curve(GRID)
    at = int(np.searchsorted(GRID[:, 0], -1.0))
    slopes = values[at] / GRID[at]
    if values.shape[1] == 1:
        for name, expected in _EXPECTED.items():
            if _equal(values, expected):
                return Activation(name)
    if not _equal(values, _leaky(GRID, slopes)):
        return None
    if values.shape[1] > 1:
        return Activation("prelu", slope=slopes.astype(np.float32))
    return Activation("leaky", {"leak": float(np.float32(slopes[0]))})


@dataclass(frozen=True)
class Gate:
    """What a curve behind the last FC is: `kind(scale v + shift)`, plus one where the block adds x itself."""

    kind: str
    attributes: dict[str, float] = field(default_factory=dict)
    scale: float = 1.0
    shift: float = 0.0
    plus_one: bool = False


def gate(curve: Curve) -> Gate | None:
    """The gate that a curve is; None for one that the node does not have."""
    values = curve(GRID)
    if values.shape[1] > 1 or not np.isfinite(values).all():
        return None
    for plus_one in (False, True):
        found = _sigmoid(values - plus_one, plus_one) or _hard(values - plus_one, plus_one)
        if found is not None:
            return found
    return _tanh(values)


def _at(values: Array, point: float) -> float:
    return float(values[int(np.searchsorted(GRID[:, 0], point)), 0])


def _snap(value: float, to: float) -> float:
    """Removes what double precision left of an exact 1 or 0."""
    return to if abs(value - to) < 1e-9 else value


def _sigmoid(values: Array, plus_one: bool) -> Gate | None:
    middle, right = _at(values, 0.0), _at(values, 1.0)
    if not (0 < middle < 1 and 0 < right < 1):
        return None
    shift = _snap(math.log(middle / (1 - middle)), 0.0)
    scale = _snap(math.log(right / (1 - right)) - shift, 1.0)
    return Gate("sigmoid", {}, scale, shift, plus_one) if _equal(values, _logistic(scale * GRID + shift)) else None


def _hard(values: Array, plus_one: bool) -> Gate | None:
    inside = np.flatnonzero((values[:, 0] > 1e-9) & (values[:, 0] < 1 - 1e-9))
    if len(inside) < 2:
        return None
    low, high = inside[0], inside[-1]
    alpha = float((values[high, 0] - values[low, 0]) / (GRID[high, 0] - GRID[low, 0]))
    beta = float(values[low, 0] - alpha * GRID[low, 0])
    if not _equal(values, _hardsigmoid(GRID, alpha, beta)):
        return None
    return Gate("hardsigmoid", {"alpha": float(np.float32(alpha)), "beta": float(np.float32(beta))}, plus_one=plus_one)


def _tanh(values: Array) -> Gate | None:
    low, high = float(values[0, 0]), float(values[-1, 0])
    alpha, beta = (high - low) / 2, (high + low) / 2
    middle, right = ((_at(values, p) - beta) / alpha if alpha else 1.0 for p in (0.0, 1.0))
    if not (abs(middle) < 1 and abs(right) < 1):
        return None
    shift = _snap(math.atanh(middle), 0.0)
    scale = _snap(math.atanh(right) - shift, 1.0)
    if not _equal(values, alpha * np.tanh(scale * GRID + shift) + beta):
        return None
    return Gate("tanh", {"alpha": float(np.float32(alpha)), "beta": float(np.float32(beta))}, scale, shift)
