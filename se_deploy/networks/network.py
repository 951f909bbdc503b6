"""What loading gives: a module ready to export, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from se_deploy.artifacts import Preprocess


@dataclass(frozen=True)
class Network:
    """A loaded network.

    Attributes:
        module: in eval mode, FP32, on the CPU; takes (N, C, H, W) float32 and gives (N, classes).
        arch: how `build` makes it again, such as `timm:seresnet50`, `torchvision:efficientnet_b0` or `ours:se_densenet121`; None where
            only the given object has the code (an unrecognised pickled module, TorchScript, .pt2).
        kwargs: JSON-able arguments with which `build(arch, **kwargs)` makes the same module without the checkpoint.
        input_size: (C, H, W).
        preprocess: from the checkpoint or the architecture's own configuration; None where nothing says.
        labels: class names, in the order of the outputs; None where nothing says.
        notes: remarks for the user: EMA or raw weights taken, ties between architectures, prefixes stripped.
    """

    module: nn.Module
    arch: str | None
    kwargs: dict[str, Any]
    input_size: tuple[int, int, int]
    preprocess: Preprocess | None
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]
