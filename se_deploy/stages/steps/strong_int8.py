"""The INT8 file of a strongly typed network: int8 where there are pairs, FP16 elsewhere, FP32 where FP16 may not be."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx import ModelProto, TensorProto

from se_deploy import op
from se_deploy.artifacts import TensorScale
from se_deploy.graph.half import to_half
from se_deploy.graph.view import View
from se_deploy.quant.place import place

#: The first opset whose QuantizeLinear takes FP16.
HALF_PAIRS = 19


def strongly_typed_int8(
    model: ModelProto,
    scales: Mapping[str, TensorScale],
    notes: list[str],
    *,
    integer_blocks: bool,
    floats: Collection[str] = (),
    wide: Collection[str] = (),
    shifted: Collection[str] = (),
) -> ModelProto:
    """Writes FP16 around the Q/DQ pairs where the opset has that: what is not in INT8 would else move four bytes a value.

    Args:
        model: a fused FP32 graph; it may be changed.
        scales: by the names of its tensors.
        notes: takes a remark where FP32 stays, and on weights that FP16 cannot hold.
        integer_blocks: SqueezeExcite nodes read and give int8 themselves.
        floats: names of nodes that are not in INT8.
        wide: names of nodes that are FP32 where others are FP16.
        shifted: tensors that a constant is added to before they are quantized.

    Raises:
        QuantError: the graph cannot be quantized, or a tensor has no scale.
    """
    halves: frozenset[str] = frozenset()
    if has_half_pairs(model):
        model = to_half(model, notes, wide)
        view = View(model)
        names = (name for node in view.nodes for name in node.outputs)
        halves = frozenset(name for name in names if view.elem_type(name) == TensorProto.FLOAT16)
    else:
        opset = op.opset_of(model)
        notes.append(
            f"what is not in INT8 stays in FP32: opset {opset} has no FP16 scales, {HALF_PAIRS} has; export with --opset {HALF_PAIRS}"
        )
    place(model, scales, signed=True, integer_blocks=integer_blocks, halves=halves, floats=floats, shifted=shifted)
    return model


def has_half_pairs(model: ModelProto) -> bool:
    """Whether Q/DQ pairs of this model may be FP16."""
    return op.opset_of(model) >= HALF_PAIRS
