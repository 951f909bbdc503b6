"""A SqueezeExcite node that is there already."""

from __future__ import annotations

import numpy as np

from se_deploy import op
from se_deploy.graph.view import Array, Node, View


def match(view: View, node: Node) -> tuple[op.Variant, dict[str, Array]] | None:
    """Its variant and its weights; None for a node that is not ours, or whose weights are not constant."""
    variant = op.variant_of(node.proto)
    if variant is None:
        return None
    weights = {}
    for name, tensor in zip(variant.inputs, node.inputs, strict=True):
        if name in ("x", "residual"):
            continue
        value = view.constant(tensor)
        if value is None:
            return None
        weights[name] = value.astype(np.float32, copy=False)
    return variant, weights
