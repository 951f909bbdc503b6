"""Counting multiply-adds as the paper does: convolutions and FCs, plus one per element pooled and one per element scaled."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import SEModule
from torch import Tensor, nn


def count_macs(net: nn.Module, size: int) -> int:
    """For one RGB image of size x size."""
    total = 0

    def add(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        else:
            total += 2 * output.numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | SEModule):
            module.register_forward_hook(add)
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    return total


def se_blocks(net: nn.Module) -> int:
    return sum(isinstance(module, SEModule) for module in net.modules())


def shake(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that carry the signal through, and random BatchNorm weights and statistics, in eval mode.

    As made, gates are all near 0.5, statistics trivial and the signal fades with depth: wrong networks would look equal.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
            elif name.endswith(("running_var", "weight")):
                value.uniform_(0.7, 1.4, generator=generator)
            elif value.ndim == 1:
                value.normal_(0, 0.3, generator=generator)
    return net.eval()
