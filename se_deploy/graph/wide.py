"""Which nodes of an FP16 graph stay in FP32, by what their tensors were seen to hold.

A tensor that overflows or loses its range cannot be FP16, so what makes it and what reads it computes in FP32; nothing else does.

    Conv ─ a (reaches 1e5) ─ Conv      ->      Cast to FP32 ─ Conv ─ a ─ Conv ─ Cast to FP16
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from se_deploy.artifacts import KeptFp32
from se_deploy.graph.precision import LARGEST, Slots, candidates, misfits
from se_deploy.graph.spans import Span
from se_deploy.graph.view import Node, View

#: Magnitudes seen have to stay below FP16's largest by this factor: other images reach further, and an infinity is no small error.
MARGIN = 4.0
#: A normal FP16 number is at most 2^-11 away from what it stands for.
_WORST_NORMAL = 2.0**-22
#: What may be lost: three of FP16's eleven bits, 48 dB of signal over error. Healthy tensors have 71 to 75 dB.
LOST = 64 * _WORST_NORMAL
#: The rounding error's mean square where FP16's steps no longer shrink: (2^-24)²/12.
_SUBNORMAL_NOISE = 2.0**-48 / 12
#: Below it a tensor carries nothing.
_NOTHING = 1e-30

#: Operators that hand on some of their input's values: what these lose, they had lost before, and what is too large was there before.
_SIFTING = frozenset({"Relu", "Clip", "MaxPool"})
#: Layers that sum over their input's channels.
_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})


def find(
    view: View, spans: Mapping[str, Span], bad: Mapping[str, str] | None = None, layers: Mapping[str, str] | None = None
) -> list[KeptFp32]:
    """The nodes that stay in FP32, in the graph's order; those that no FP16 graph has in FP16 (means, gates) are not among them.

    Args:
        view: the FP32 graph.
        spans: what was seen of its tensors; those that are missing are taken for healthy.
        bad: tensors that cannot be FP16 for another reason, with that.
        layers: nodes that cannot be FP16 for another reason, by name, with that.

    Returns:
        Each with the first reason found.
    """
    chosen = candidates(view)
    unfit = misfits(view, chosen)
    tensors = _sifted(view, _unfit(view, chosen, spans) | dict(bad or {}))
    kept = []
    for node, slots in chosen.items():
        reason = unfit.get(node) or _at(node, slots, tensors) or (layers or {}).get(node.name) or _layer(view, node, spans)
        if reason:
            kept.append(KeptFp32(name=node.name, op=node.proto.op_type, reason=reason))
    return kept


def by_peak(peak: float) -> str | None:
    """What is wrong with a tensor in FP16 of which the largest magnitude alone is known."""
    if peak > LARGEST / MARGIN:
        return _overflow(peak)
    if peak > _NOTHING and LOST * peak**2 < _SUBNORMAL_NOISE:
        return f"is {peak:.3g} at most, where FP16 keeps too few bits"
    return None


def _overflow(peak: float) -> str:
    return f"reaches {peak:.3g}, FP16 ends at {LARGEST:.0f} (margin {MARGIN:g})"


def _at(node: Node, slots: Slots, bad: Mapping[str, str]) -> str | None:
    """The first tensor that a node would read or give in FP16 and that cannot be."""
    names = [*(node.inputs[i] for i in sorted(slots.inputs)), *(node.outputs[i] for i in sorted(slots.outputs))]
    return next((f"{name} {bad[name]}" for name in names if name in bad), None)


def _unfit(view: View, chosen: Mapping[Node, Slots], spans: Mapping[str, Span]) -> dict[str, str]:
    """Tensors that cannot be FP16, and why."""
    found = ((name, _problem(span, _gains(view, chosen, name))) for name, span in spans.items())
    return {name: reason for name, reason in found if reason}


def _sifted(view: View, bad: Mapping[str, str]) -> dict[str, str]:
    """These tensors, and those that they were sifted from."""
    found = dict(bad)
    for node in reversed(view.nodes):
        if node.op in _SIFTING and node.outputs[0] in found:
            found.setdefault(node.inputs[0], found[node.outputs[0]])
    return found


def _problem(span: Span, gains: Iterable[NDArray[np.float64] | None]) -> str | None:
    peak = float(span.peak.max(initial=0))
    if not peak <= LARGEST / MARGIN:  # NaN too
        return _overflow(peak)
    share = max(_share(span, gain) for gain in gains)
    if peak < _NOTHING or share <= LOST:
        return None
    return f"keeps {_db(share):.0f} dB of its signal in FP16 (at most {peak:.3g})"


def _share(span: Span, gain: NDArray[np.float64] | None) -> float:
    """The rounding error's share of a tensor's energy as a reader weights it by channels, from 0 (exact) to 1 (nothing is left)."""
    weights = np.ones_like(span.energy) if gain is None or gain.shape != span.energy.shape else gain
    energy, error = float(span.energy @ weights), float(span.error @ weights)
    if energy > 0:
        return min(error / energy, 1.0)
    return 1.0 if float(span.peak @ (weights > 0)) > 0 else 0.0  # squares that FP32 has lost


def _db(share: float) -> float:
    """Signal over error."""
    return abs(10 * float(np.log10(share)))


def _gains(view: View, chosen: Mapping[Node, Slots], name: str) -> Iterator[NDArray[np.float64] | None]:
    """How each of a tensor's FP16 readers weights its channels; None where it does not, and where nothing reads it in FP16."""
    readers = [(node, i) for node in view.consumers.get(name, ()) for i in sorted(chosen[node].inputs if node in chosen else ())]
    found = [gain(view, node) if i == 0 else None for node, i in readers if node.inputs[i] == name]
    yield from found or [None]


def gain(view: View, node: Node) -> NDArray[np.float64] | None:
    """By input channel, the sum of the squared weights that a layer or a BatchNormalization has for it, (C,); None for other nodes."""
    if node.op == "BatchNormalization":
        scale, variance = view.constant(node.inputs[1]), view.constant(node.inputs[4])
        if scale is None or variance is None:
            return None
        return np.asarray(np.square(scale.astype(np.float64)) / (variance.astype(np.float64) + node.get("epsilon", 1e-5)))
    weight = _grouped(view, node)
    return None if weight is None else _by_channel(np.square(weight))


def _by_channel(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums by input channel of what stands in the places of grouped weights."""
    return np.asarray(values.sum(axis=(1, 3), dtype=np.float64).reshape(-1))


def _grouped(view: View, node: Node) -> NDArray[np.float32] | None:
    """A layer's constant weights as (groups, outputs, input channels, positions), both within a group; None for other nodes."""
    value = view.constant(node.inputs[1]) if node.op in _LAYERS else None
    if value is None or view.elem_type(node.inputs[1]) != TensorProto.FLOAT:
        return None
    if node.op == "Conv":
        groups = node.get("group", 1)
        return value.reshape(groups, value.shape[0] // groups, value.shape[1], -1)
    if value.ndim != 2 or view.rank(node.inputs[0]) != 2 or node.get("transA", 0) or node.get("alpha", 1.0) != 1.0:
        return None
    return (value if node.op == "Gemm" and node.get("transB", 0) else value.T)[None, :, :, None]


def _layer(view: View, node: Node, spans: Mapping[str, Span]) -> str | None:
    """What is wrong with a layer whose tensors are healthy: its weights by what they are multiplied with, or its sums on their way."""
    span, weight = spans.get(node.inputs[0]), _grouped(view, node)
    if span is None or weight is None or weight.shape[0] * weight.shape[2] != span.peak.size:
        return None
    energy = float(_by_channel(np.square(weight)) @ span.energy)
    lost = float(_by_channel(np.square(weight - weight.astype(np.float16))) @ span.energy)
    if lost > LOST * energy:
        return f"{node.inputs[1]} keeps {_db(lost / energy):.0f} dB of its products in FP16"
    largest = _largest_sum(weight, span.peak)
    if largest > LARGEST:
        return f"its sums may reach {largest:.3g} on their way, FP16 ends at {LARGEST:.0f}"
    return None


def _largest_sum(weight: NDArray[np.float32], peak: NDArray[np.float64]) -> float:
    """What no sum of a layer's products passes, in whatever order they are added: sum |w| max|x|."""
    by_channel = np.abs(weight).sum(axis=3, dtype=np.float64)
    return float(np.einsum("goi,gi->go", by_channel, peak.reshape(weight.shape[0], -1)).max(initial=0))
