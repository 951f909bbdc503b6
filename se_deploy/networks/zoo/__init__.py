"""The paper's networks that timm lacks, one a file, with and without SE blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["BUILDERS", "INPUT_SIZES", "recognise"]

#: name -> builder(num_classes=1000, in_chans=3, reduction=16); reduction=None leaves the SE blocks out.
BUILDERS: dict[str, Callable[..., nn.Module]] = {}

#: name -> height and width of the square input that the network was made for.
INPUT_SIZES: dict[str, int] = {}


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and the builder's arguments of the network that a bare state_dict is of, or None."""
    return None
