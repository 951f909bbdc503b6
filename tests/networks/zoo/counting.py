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
