"""The zoo's SE block, and reading its reduction ratio from a state_dict."""

from __future__ import annotations

from collections.abc import Iterable

from timm.layers.squeeze_excite import SEModule
from torch import Tensor, nn


def squeeze_excite(channels: int, reduction: int | None) -> nn.Module:
    """Pool, FC to channels // reduction (at least 1), ReLU, FC back, sigmoid, scale; nothing where `reduction` is None.

    The FCs are 1x1 convolutions with biases (`fc1`, `fc2`), as in the paper's own Caffe models.
    """
    if reduction is None:
        return nn.Identity()
    module: nn.Module = SEModule(channels, rd_channels=max(1, channels // reduction))
    return module


def reduction_of(state: dict[str, Tensor]) -> int | None:
    """The reduction ratio of all the `….fc1.weight` in a state_dict; None where there are none.

    Where no one ratio fits it is 16, the paper's: whoever loads the state has to set the widths one by one.
    """
    pairs = [(int(value.shape[1]), int(value.shape[0])) for key, value in state.items() if key.endswith(".fc1.weight")]
    return fitting_reduction(pairs) or 16 if pairs else None


def fitting_reduction(blocks: Iterable[tuple[int, int]]) -> int | None:
    """The ratio r for which every (channels, reduced) has reduced = channels // r, at least 1; None where there is none."""
    pairs = set(blocks)
    widest = max((channels for channels, _ in pairs), default=0)
    return next((r for r in range(1, widest + 1) if all(max(1, c // r) == reduced for c, reduced in pairs)), None)
