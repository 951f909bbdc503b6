"""SE-ResNet for 32x32 images (He et al., 2016, section 4.2): three stages of basic blocks, 16, 32 and 64 channels wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from se_deploy.networks.zoo.se import reduction_of, squeeze_excite


class ResNetCifar(nn.Module):
    """The network of 2 * sum(layers) + 2 layers; takes (N, in_chans, H, W), gives (N, num_classes)."""

    def __init__(self, num_classes: int = 10, in_chans: int = 3, reduction: int | None = 16, layers: Sequence[int] = (3, 3, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, layers[0], 1, reduction)
        self.layer2 = _stage(16, 32, layers[1], 2, reduction)
        self.layer3 = _stage(32, 64, layers[2], 2, reduction)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images to class scores."""
        x = self.act(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores


def _stage(in_channels: int, channels: int, blocks: int, stride: int, reduction: int | None) -> nn.Sequential:
    stage = nn.Sequential()
    for number in range(blocks):
        first = number == 0 and in_channels != channels
        shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)) if first else None
        block = BasicBlock(in_channels if first else channels, channels, stride if first else 1, shortcut)
        block.se = squeeze_excite(channels, reduction)
        stage.append(block)
    return stage


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and arguments that make a network with these keys and shapes, or None."""
    first, last = state.get("conv1.weight"), state.get("fc.weight")
    stages = [{key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")} for stage in (1, 2, 3, 4)]
    if first is None or last is None or first.shape[0] != 16 or "layer3.0.se.fc1.weight" not in state or stages[3]:
        return None
    arguments: dict[str, Any] = {"num_classes": last.shape[0], "in_chans": first.shape[1], "reduction": reduction_of(state)}
    return "se_resnet_cifar", arguments | {"layers": [len(blocks) for blocks in stages[:3]]}
