"""The SE blocks of the networks that are measured: their shapes are read from timm's models, not copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network by timm's name, and what its SE blocks are."""

    title: str
    timm: str
    act: str
    gate: str
    alpha: float
    residual: bool  # a residual add and a ReLU stand behind the block


NETWORKS = (
    Network("SE-ResNet-50", "seresnet50", "relu", "sigmoid", 0.0, residual=True),
    Network("EfficientNet-B0", "efficientnet_b0", "silu", "sigmoid", 0.0, residual=False),
    Network("MobileNetV3-large", "mobilenetv3_large_100", "relu", "hardsigmoid", 1 / 6, residual=False),
    Network("SENet-154", "legacy_senet154", "relu", "sigmoid", 0.0, residual=True),
)


@dataclass(frozen=True, order=True)
class Block:
    """channels, hidden channels, height and width of the map that an SE block pools."""

    c: int
    r: int
    height: int
    width: int


def blocks_of(network: Network) -> list[Block]:
    """The different SE shapes of a network at 224x224, largest map first."""
    import timm
    import torch

    seen: set[Block] = set()

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        _, c, height, width = inputs[0].shape
        first = next(weight for weight in module.parameters() if weight.ndim == 4)
        seen.add(Block(c, first.shape[0], height, width))

    with torch.device("meta"):
        model = timm.create_model(network.timm).eval()
        for module in model.modules():
            if type(module).__name__ in ("SEModule", "SqueezeExcite"):
                module.register_forward_pre_hook(note)
        with torch.no_grad():
            model(torch.empty(1, 3, 224, 224))
    return sorted(seen, key=lambda block: (-block.height, block))
