"""What starts at a pool and scales a map, but has no SE block's skeleton: ECA, CBAM, selective kernels, deeper gates."""

from __future__ import annotations

from se_deploy.graph.forms import Linear, Pool, Unknown, Vector
from se_deploy.graph.rules import Miss


def reason(vector: Vector) -> Miss | None:
    """Why a vector without a known skeleton is no SE block's gate; None where it never was one (a normalisation's statistics)."""
    if not vector.is_gate:
        return None
    layers = 0
    base = vector.base
    while isinstance(base, Linear):
        layers += 1
        base = base.source.base
    match base:
        case Unknown(id=known, detail=detail):
            return Miss(known, detail)
        case Pool(kind="max" | "sum" as kind):
            return Miss(f"pool-{kind}")
        case Pool(is_global=False):
            return Miss("pool-partial")
    return Miss("too-many-fcs", str(layers)) if layers else Miss("no-fc")
