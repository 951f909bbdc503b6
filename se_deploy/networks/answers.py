"""Whether two modules are the same function, by asking both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The largest difference, as a share of the range of the answers, that rounding explains.
_ROUNDING = 1e-4


def probe(size: tuple[int, int, int], images: int = 2) -> Tensor:
    """Seeded noise of shape (images, *size), about as large as normalised images."""
    return torch.randn(images, *size, generator=torch.Generator().manual_seed(0))


def answer(module: nn.Module, inputs: Tensor) -> Tensor:
    """What a module answers; whatever its code raises comes through, and TypeError where it answers no tensor."""
    with torch.inference_mode():
        output = module(inputs)
    if not isinstance(output, Tensor):
        raise TypeError(f"it answers a {type(output).__name__}, not a tensor")
    return output


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two answers differ by rounding alone."""
    if one.shape != other.shape:
        return False
    spread = float(other.max() - other.min())
    return bool((one - other).abs().max() <= _ROUNDING * max(spread, 1e-6))
