"""Weights that show mistakes: as made, gates are all near 0.5, BatchNorm does nothing, and the signal fades or grows with depth."""

from __future__ import annotations

import torch
from torch import nn


def shake(net: nn.Module, *shape: int, seed: int = 0) -> nn.Module:
    """Random weights, and the BatchNorm statistics that random images of `shape` leave in one pass; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
            elif name.endswith("weight"):
                value.uniform_(0.7, 1.4, generator=generator)
            else:
                value.normal_(0, 0.3, generator=generator)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        net.train()(torch.randn(shape, generator=generator))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return net.eval()
