"""SE-BN-Inception: Inception with batch normalisation (Ioffe and Szegedy, 2015), an SE block after every inception module.

Widths as in the network that the paper's authors published, whose poolings project to 128 channels in 4c and 4d (Ioffe and
Szegedy's table has 96) and whose first convolution is a plain 7x7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.layers.conv_bn_act import ConvNormAct
from torch import Tensor, nn

from se_deploy.networks.zoo.se import reduction_of, squeeze_excite


class Widths(NamedTuple):
    """An inception module's channels: the 1x1 branch, the (reduced, wide) 3x3 and double 3x3 branches, the pooling's projection.

    Without a 1x1 branch and a projection (0), the module has stride 2 and passes its max-pooled input on.
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    projection: int
    pool: type[nn.Module] = nn.AvgPool2d

    def out(self, in_channels: int) -> int:
        """Channels of the module's output."""
        return self.one + self.three[1] + self.double[1] + (self.projection or in_channels)


MODULES = {
    "3a": Widths(64, (64, 64), (64, 96), 32),
    "3b": Widths(64, (64, 96), (64, 96), 64),
    "3c": Widths(0, (128, 160), (64, 96), 0),
    "4a": Widths(224, (64, 96), (96, 128), 128),
    "4b": Widths(192, (96, 128), (96, 128), 128),
    "4c": Widths(160, (128, 160), (128, 160), 128),
    "4d": Widths(96, (128, 192), (160, 192), 128),
    "4e": Widths(0, (128, 192), (192, 256), 0),
    "5a": Widths(352, (192, 320), (160, 224), 128),
    "5b": Widths(352, (192, 320), (192, 224), 128, nn.MaxPool2d),
}


class InceptionModule(nn.Module):
    """Parallel branches, concatenated, then the SE block."""

    def __init__(self, in_channels: int, widths: Widths, reduction: int | None) -> None:
        super().__init__()
        stride = 1 if widths.projection else 2
        three, double = widths.three, widths.double
        self.branches = nn.ModuleDict()
        if widths.one:
            self.branches["one"] = ConvNormAct(in_channels, widths.one, 1)
        self.branches["three"] = nn.Sequential(ConvNormAct(in_channels, three[0], 1), ConvNormAct(*three, 3, stride=stride))
        self.branches["twice"] = nn.Sequential(
            ConvNormAct(in_channels, double[0], 1), ConvNormAct(*double, 3), ConvNormAct(double[1], double[1], 3, stride=stride)
        )
        if widths.projection:
            pool = widths.pool(3, stride=1, padding=1)
            self.branches["pool"] = nn.Sequential(pool, ConvNormAct(in_channels, widths.projection, 1))
        else:
            self.branches["pool"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.se = squeeze_excite(widths.out(in_channels), reduction)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, widths.out(in_channels), H, W), or half of H and W."""
        out: Tensor = self.se(torch.cat([branch(x) for branch in self.branches.values()], 1))
        return out


class BNInception(nn.Module):
    """The network; takes (N, in_chans, H, W) whose H and W are multiples of 32, gives (N, num_classes)."""

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, reduction: int | None = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormAct(in_chans, 64, 7, stride=2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            ConvNormAct(64, 64, 1),
            ConvNormAct(64, 192, 3),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        self.inception = nn.Sequential()
        channels = 192
        for name, widths in MODULES.items():
            self.inception.add_module(name, InceptionModule(channels, widths, reduction))
            channels = widths.out(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images to class scores."""
        features = self.pool(self.inception(self.stem(x)))
        scores: Tensor = self.classifier(features.flatten(1))
        return scores


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and arguments that make a network with these keys and shapes, or None."""
    first, last = state.get("stem.0.conv.weight"), state.get("classifier.weight")
    if first is None or last is None or "inception.3a.branches.one.conv.weight" not in state:
        return None
    return "se_bn_inception", {"num_classes": last.shape[0], "in_chans": first.shape[1], "reduction": reduction_of(state)}
