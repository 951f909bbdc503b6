"""x * gate(W2 mean(x) + b2): effective squeeze and excitation (ESE), one-convolution gates."""

from __future__ import annotations

from se_deploy.graph import curves
from se_deploy.graph.curves import Activation
from se_deploy.graph.forms import Linear, Pool, Vector
from se_deploy.graph.rules import Miss, Parts


def match(vector: Vector) -> Parts | Miss | None:
    """The parts; why they are not the node's; None where the vector has another skeleton."""
    match vector:
        case Vector(curve=outer, base=Linear(source=Vector(base=Pool() as pool) as pooled) as only):
            pass
        case _:
            return None
    if not pooled.is_plain:
        return Miss("other-op", f"{', '.join(sorted(pooled.curve.ops))} between pool and layer")
    gate = curves.gate(outer)
    if gate is None:
        return Miss("unknown-gate", ", ".join(sorted(outer.ops)) or "none")
    return Parts(pool, ((only.weight, only.bias),), Activation("none"), gate)
