"""Fully connected layers, however they are spelled: 1x1 convolutions, Gemm, MatMul; and BatchNorm behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.graph import curves
from se_deploy.graph.forms import Labels, Vector, linear, settled
from se_deploy.graph.view import Node, View

Array = NDArray[Any]

LAYERS = frozenset({"Conv", "Gemm", "MatMul", "BatchNormalization"})


class NoLayer(Exception):
    """The node is no FC on this vector; says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def layered(view: View, node: Node, vector: Vector) -> Vector:
    """The vector behind an FC or BatchNorm.

    Raises:
        NoLayer: the node computes something else.
    """
    match node.op:
        case "Conv":
            return _convolved(view, node, vector)
        case "Gemm":
            return _gemm(view, node, vector)
        case "MatMul":
            return _matmul(view, node, vector)
    return _normalised(view, node, vector)


def _weight(view: View, name: str) -> Array:
    value = view.constant(name)
    if value is None:
        raise NoLayer("weights-not-constant", name)
    return value


def _bias(view: View, name: str, size: int, scale: float = 1.0) -> Array | None:
    if not name:
        return None
    value = _weight(view, name)
    if value.size not in (1, size) or value.shape[-1:] not in ((), (1,), (size,)):
        raise NoLayer("other-op", f"bias {name} of shape {list(value.shape)}")
    flat = np.broadcast_to(value.reshape(-1), (size,))
    return flat if scale == 1 else flat * scale


def _checked(vector: Vector, weight: Array) -> Array:
    if vector.size is not None and weight.shape[1] != vector.size:
        raise NoLayer("other-op", f"a weight of {weight.shape[1]} columns on {vector.size} channels")
    return weight


def _convolved(view: View, node: Node, vector: Vector) -> Vector:
    """A 1x1 convolution of a 1x1 map: stride and dilation do nothing there."""
    labels, weight = vector.labels, _weight(view, node.inputs[1])
    if labels[:1] == ("N",) and labels[1:2] != ("C",) and "C" in labels:
        raise NoLayer("conv-over-channels", f"kernel {list(weight.shape[2:])}")
    if labels[:2] != ("N", "C") or set(labels[2:]) - {"1"}:
        raise NoLayer("pool-partial" if "S" in labels else "other-op", "a convolution on axes that are not reduced")
    if set(weight.shape[2:]) - {1} or any(node.get("pads", ())):
        raise NoLayer("other-op", f"a convolution with a kernel of {list(weight.shape[2:])}")
    dense = _dense(weight.reshape(weight.shape[:2]), node.get("group", 1))
    return linear(vector, _checked(vector, dense), _bias(view, node.input(2), len(dense)), node, labels)


def _dense(weight: Array, groups: int) -> Array:
    """A grouped convolution's weight as one block-diagonal matrix."""
    if groups == 1:
        return weight
    out, columns = weight.shape
    dense = np.zeros((out, columns * groups), weight.dtype)
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        dense[rows, g * columns : (g + 1) * columns] = weight[rows]
    return dense


def _gemm(view: View, node: Node, vector: Vector) -> Vector:
    """alpha A' B' + beta C, the vector being A, or B where the weight comes first."""
    first = view.is_constant(node.inputs[0])
    trans = (node.get("transA", 0), node.get("transB", 0))
    weight = _weight(view, node.inputs[0 if first else 1])
    # y = v W' for the vector as A; y = W v for the vector as B, columns being samples.
    weight = (weight.T if trans[0] else weight) if first else (weight if trans[1] else weight.T)
    transposed = bool(trans[1]) if first else bool(trans[0])
    wanted = ("C", "N") if first != transposed else ("N", "C")
    if vector.labels != wanted:
        raise NoLayer("other-op", "a Gemm along other axes")
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if alpha != 1:
        weight = weight * np.float32(alpha)
    if first and node.input(2) and _weight(view, node.inputs[2]).size > 1:
        raise NoLayer("other-op", "a Gemm whose bias is added along the samples")
    bias = _bias(view, node.input(2), len(weight), beta)
    return linear(vector, _checked(vector, weight), bias, node, ("C", "N") if first else ("N", "C"))


def _matmul(view: View, node: Node, vector: Vector) -> Vector:
    """The vector times a matrix along its last axis, or a matrix times the vector along its last but one."""
    first = view.is_constant(node.inputs[0])
    weight = _weight(view, node.inputs[0 if first else 1])
    if weight.ndim < 2 or set(weight.shape[:-2]) - {1}:
        raise NoLayer("other-op", f"a MatMul with a weight of shape {list(weight.shape)}")
    rank = max(weight.ndim, len(vector.labels))
    weight = weight.reshape(weight.shape[-2:])
    axis = -2 if first else -1
    if len(vector.labels) < 2 or vector.labels[axis] != "C":
        raise NoLayer("other-op", "a MatMul along other axes")
    labels: Labels = ("1",) * (rank - len(vector.labels)) + vector.labels
    weight = weight if first else weight.T
    return linear(vector, _checked(vector, weight), None, node, labels)


def _normalised(view: View, node: Node, vector: Vector) -> Vector:
    """BatchNorm by its running statistics: a scale and a shift per channel."""
    if node.get("training_mode", 0) or vector.labels[:2] != ("N", "C"):
        raise NoLayer("normalised", "a BatchNormalization by the batch's statistics or along other axes")
    scale, bias, mean, variance = (_weight(view, name).astype(np.float64) for name in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.get("epsilon", 1e-5))
    scaled = curves.apply("Mul", (vector.curve, factor), {})
    shifted = None if scaled is None else curves.apply("Add", (scaled, bias - mean * factor), {})
    if shifted is None:
        raise NoLayer("other-op", "a long chain of elementwise nodes")
    return settled(Vector(vector.base, vector.labels, shifted, vector.expanded))
