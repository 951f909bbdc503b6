"""SE-Inception-ResNet-v2: timm's Inception-ResNet-v2 (Szegedy et al., 2016) with SE blocks on its residual branches.

As in the paper's SE-ResNet module, the block recalibrates the branch before it is added: after the last 1x1 convolution of each
of the 40 residual modules, before the branch's constant scale.

The paper counts 11.75 GFLOPs without and 11.76 with SE blocks for the authors' own re-implementation at 299x299, which was not
published. This network counts 13.16 and 13.19 there, 12 % more: it has the 10, 20 and 10 modules of TensorFlow's reference code
and its weights, where Szegedy et al.'s figures have 5, 10 and 5 wider ones (9.26 by our count); neither is what the paper counted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import timm
from timm.models.inception_resnet_v2 import Block8, Block17, Block35
from torch import Tensor, nn

from se_deploy.networks.zoo.se import reduction_of, squeeze_excite


def se_inception_resnet_v2(num_classes: int = 1000, in_chans: int = 3, reduction: int | None = 16) -> nn.Module:
    """The network; takes (N, in_chans, H, W) of at least 75x75, gives (N, num_classes)."""
    net: nn.Module = timm.create_model("inception_resnet_v2", num_classes=num_classes, in_chans=in_chans)
    if reduction is None:
        return net
    for block in list(net.modules()):
        if isinstance(block, (Block35, Block17, Block8)):
            se = squeeze_excite(block.conv2d.out_channels, reduction)
            block.add_module("conv2d", nn.Sequential(OrderedDict(conv=block.conv2d, se=se)))
    return net


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and arguments that make a network with these keys and shapes, or None; without SE blocks it is timm's."""
    first, last = state.get("conv2d_1a.conv.weight"), state.get("classif.weight")
    if first is None or last is None or "block8.conv2d.se.fc1.weight" not in state:
        return None
    arguments = {"num_classes": last.shape[0], "in_chans": first.shape[1], "reduction": reduction_of(state)}
    return "se_inception_resnet_v2", arguments
