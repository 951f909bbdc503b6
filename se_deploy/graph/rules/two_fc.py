"""x * gate(W2 act(W1 mean(x) + b1) + b2): squeeze and excitation as in the paper."""

from __future__ import annotations

from se_deploy.graph import curves
from se_deploy.graph.forms import Linear, Pool, Vector
from se_deploy.graph.rules import Miss, Parts


def match(vector: Vector) -> Parts | Miss | None:
    """The parts; why they are not the node's; None where the vector has another skeleton."""
    match vector:
        case Vector(
            curve=outer,
            base=Linear(source=Vector(curve=inner, base=Linear(source=Vector(base=Pool() as pool) as pooled) as first)) as second,
        ):
            pass
        case _:
            return None
    if not pooled.is_plain:
        return Miss("other-op", f"{', '.join(sorted(pooled.curve.ops))} between pool and first layer")
    activation = curves.activation(inner)
    if activation is None:
        return Miss("unknown-activation", ", ".join(sorted(inner.ops)))
    gate = curves.gate(outer)
    if gate is None:
        return Miss("unknown-gate", ", ".join(sorted(outer.ops)) or "none")
    return Parts(pool, ((first.weight, first.bias), (second.weight, second.bias)), activation, gate)
