"""`--shapes NAME:min,opt,max`: the sizes an engine is built and tuned for."""

from __future__ import annotations

from collections.abc import Sequence

from se_deploy.artifacts import InputSpec
from se_deploy.errors import BackendError

Shape = tuple[int, ...]


def profile(inputs: Sequence[InputSpec], texts: Sequence[str]) -> tuple[InputSpec, ...]:
    """The inputs with the sizes that `texts` name; those not named keep their own.

    Args:
        inputs: the model's.
        texts: "NAME:min,opt,max", each a batch size (`8`) or a whole shape (`8x3x224x224`).

    Raises:
        BackendError: a text is not of that form, names no input, or contradicts the input's shape.
    """
    changed = {spec.name: spec for spec in inputs}
    for text in texts:
        name, _, sizes = text.rpartition(":")
        if name not in changed:
            raise BackendError(f"--shapes {text}: the model has no input {name!r}", f"its inputs are {', '.join(changed)}")
        changed[name] = _sized(changed[name], sizes, text)
    return tuple(changed.values())


def _sized(spec: InputSpec, sizes: str, text: str) -> InputSpec:
    parts = sizes.split(",")
    if len(parts) != 3:
        raise BackendError(f"--shapes {text}: {len(parts)} size(s)", "give three: min,opt,max")
    low, best, high = (_shape(spec, part, text) for part in parts)
    if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
        raise BackendError(f"--shapes {text}: the sizes do not grow", "give min <= opt <= max")
    return spec.model_copy(update={"min": low, "opt": best, "max": high})


def _shape(spec: InputSpec, part: str, text: str) -> Shape:
    try:
        shape = tuple(int(size) for size in part.split("x"))
    except ValueError as error:
        raise BackendError(f"--shapes {text}: {part!r} is no size", "give sizes such as 8 or 8x3x224x224") from error
    shape = (*shape, *spec.opt[1:]) if len(shape) == 1 else shape
    fits = len(shape) == len(spec.shape) and all(s >= 1 and (isinstance(d, str) or s == d) for s, d in zip(shape, spec.shape, strict=False))
    if not fits:
        raise BackendError(f"--shapes {text}: {part} does not fit {spec.name} {list(spec.shape)}", "change only its dynamic sizes")
    return shape
