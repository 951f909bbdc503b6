"""The networks whose key spellings are translated, written anew with the originals' names and layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck


class SELayer(nn.Module):
    """moskomule's: FCs, by default without biases."""

    def __init__(self, channels: int, reduced: int, bias: bool) -> None:
        super().__init__()
        down, up = nn.Linear(channels, reduced, bias=bias), nn.Linear(reduced, channels, bias=bias)
        self.fc = nn.Sequential(down, nn.ReLU(), up, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def moskomule_resnet(
    bottlenecks: bool, layers: Sequence[int], num_classes: int = 1000, reduction: int = 16, in_chans: int = 3, bias: bool = False
) -> nn.Module:
    """torchvision's ResNet with an SE layer behind the last BatchNorm of each block."""

    class SEBasicBlock(BasicBlock):
        def __init__(self, inplanes: int, planes: int, *args: Any, **kwargs: Any) -> None:
            super().__init__(inplanes, planes, *args, **kwargs)
            self.se = SELayer(planes, planes // reduction, bias)

        def forward(self, x: Tensor) -> Tensor:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(self.se(out) + (x if self.downsample is None else self.downsample(x)))

    class SEBottleneck(Bottleneck):
        def __init__(self, inplanes: int, planes: int, *args: Any, **kwargs: Any) -> None:
            super().__init__(inplanes, planes, *args, **kwargs)
            self.se = SELayer(planes * 4, planes * 4 // reduction, bias)

        def forward(self, x: Tensor) -> Tensor:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
            return self.relu(self.se(out) + (x if self.downsample is None else self.downsample(x)))

    net = ResNet(SEBottleneck if bottlenecks else SEBasicBlock, list(layers), num_classes=num_classes)
    if in_chans != 3:
        net.conv1 = nn.Conv2d(in_chans, 64, 7, stride=2, padding=3, bias=False)
    return net


class MoskomuleCifar(nn.Module):
    """moskomule's network for CIFAR: blocks with a shortcut layer only where the width changes."""

    def __init__(self, blocks: int = 3, num_classes: int = 10, reduction: int = 16) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        inputs = (16, *[16] * blocks, *[32] * blocks, *[64] * blocks)
        for stage, width in enumerate((16, 32, 64)):
            start = stage * blocks
            self.add_module(
                f"layer{stage + 1}",
                nn.Sequential(*(_CifarBlock(inputs[start + i], width, reduction) for i in range(blocks))),
            )
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class _CifarBlock(nn.Module):
    def __init__(self, inputs: int, width: int, reduction: int) -> None:
        super().__init__()
        stride = 1 if inputs == width else 2
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.se = SELayer(width, width // reduction, bias=False)
        self.downsample = None if inputs == width else nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(self.se(out) + (x if self.downsample is None else self.downsample(x)))


class CaffeSENet(nn.Module):
    """VGGFace2's SENet-50 as converters write it.

    `slash` and `bn` are the two marks of a spelling: `conv2_1/1x1_down` or `conv2_1_1x1_down`, `…/bn` or `…_bn`. With `scale`,
    Caffe's Scale layers are modules of their own (`…/bn/scale`) behind BatchNorms without weights. The head is a 1x1 convolution.
    """

    def __init__(
        self,
        slash: str,
        bn: str,
        num_classes: int = 8631,
        layers: Sequence[int] = (3, 4, 6, 3),
        head: str = "classifier",
        scale: bool = False,
    ) -> None:
        super().__init__()
        self.slash, self.bn, self.scale, self.layers, self.head = slash, bn, scale, layers, head
        self._conv(f"conv1{slash}7x7_s2", 3, 64, 7, stride=2)
        inputs = 64
        for stage, blocks in enumerate(layers, 2):
            width = 16 * 2**stage
            for block in range(1, blocks + 1):
                name, stride = f"conv{stage}_{block}{slash}", 2 if block == 1 and stage > 2 else 1
                self._conv(f"{name}1x1_reduce", inputs, width, 1, stride)
                self._conv(f"{name}3x3", width, width, 3)
                self._conv(f"{name}1x1_increase", width, width * 4, 1)
                self.add_module(f"{name}1x1_down", nn.Conv2d(width * 4, width // 4, 1))
                self.add_module(f"{name}1x1_up", nn.Conv2d(width // 4, width * 4, 1))
                if block == 1:
                    self._conv(f"{name}1x1_proj", inputs, width * 4, 1, stride)
                inputs = width * 4
        if head:
            self.add_module(head, nn.Conv2d(inputs, num_classes, 1))

    def _conv(self, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))
        self.add_module(name + self.bn, nn.BatchNorm2d(outputs, affine=not self.scale))
        if self.scale:
            self.add_module(f"{name}{self.bn}/scale", _Scale(outputs))

    def _run(self, name: str, x: Tensor) -> Tensor:
        x = self._modules[name + self.bn](self._modules[name](x))
        return self._modules[f"{name}{self.bn}/scale"](x) if self.scale else x

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self._run(f"conv1{self.slash}7x7_s2", x))
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
        for stage, blocks in enumerate(self.layers, 2):
            for block in range(1, blocks + 1):
                x = self._block(f"conv{stage}_{block}{self.slash}", x)
        x = functional.adaptive_avg_pool2d(x, 1)
        return (self._modules[self.head](x) if self.head else x).flatten(1)

    def _block(self, name: str, x: Tensor) -> Tensor:
        out = functional.relu(self._run(f"{name}1x1_reduce", x))
        out = functional.relu(self._run(f"{name}3x3", out))
        out = self._run(f"{name}1x1_increase", out)
        gate = functional.relu(self._modules[f"{name}1x1_down"](functional.adaptive_avg_pool2d(out, 1)))
        gate = torch.sigmoid(self._modules[f"{name}1x1_up"](gate))
        shortcut = self._run(f"{name}1x1_proj", x) if f"{name}1x1_proj" in self._modules else x
        return functional.relu(gate * out + shortcut)


class _Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class CydoniaSENet(nn.Module):
    """cydonia999's: torchvision's names, the stride in the first convolution, the SE layers beside the others."""

    def __init__(self, num_classes: int = 8631, layers: Sequence[int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, blocks in enumerate(layers, 1):
            width = 32 * 2**stage
            strides = [2 if stage > 1 else 1] + [1] * (blocks - 1)
            made = [_CydoniaBlock(inputs if i == 0 else width * 4, width, stride, i == 0) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage}", nn.Sequential(*made))
            inputs = width * 4
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, ceil_mode=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class _CydoniaBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width * 4, 1, bias=False), nn.BatchNorm2d(width * 4)
        self.conv4, self.conv5 = nn.Conv2d(width * 4, width // 4, 1), nn.Conv2d(width // 4, width * 4, 1)
        shortcut = nn.Sequential(nn.Conv2d(inputs, width * 4, 1, stride, bias=False), nn.BatchNorm2d(width * 4))
        self.downsample = shortcut if first else None

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(out)))))
        gate = torch.sigmoid(self.conv5(functional.relu(self.conv4(out.mean((2, 3), keepdim=True)))))
        return functional.relu(out * gate + (x if self.downsample is None else self.downsample(x)))


#: Factors of width and depth, and the image size, of lukemelas' B0 to B3 and B8.
LUKEMELAS = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 300), 8: (2.2, 3.6, 672)}


class LukemelasEfficientNet(nn.Module):
    """lukemelas' EfficientNet: padding as TensorFlow's SAME for the one image size that the network is made for."""

    #: repeats, kernel, stride, expansion, output channels
    STAGES = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, size: int, num_classes: int | None = 1000, in_chans: int = 3) -> None:
        super().__init__()
        width, depth, image = LUKEMELAS[size]
        inputs = _rounded(32 * width)
        self._conv_stem, self._bn0 = _SameConv(in_chans, inputs, 3, 2, image), nn.BatchNorm2d(inputs, eps=1e-3)
        image = -(-image // 2)
        self._blocks = nn.ModuleList()
        for repeats, kernel, stage_stride, expansion, channels in self.STAGES:
            for repeat in range(math.ceil(repeats * depth)):
                stride = stage_stride if repeat == 0 else 1
                self._blocks.append(_MBConv(inputs, _rounded(channels * width), kernel, stride, expansion, image))
                inputs, image = _rounded(channels * width), -(-image // stride)
        head = _rounded(1280 * width)
        self._conv_head, self._bn1 = nn.Conv2d(inputs, head, 1, bias=False), nn.BatchNorm2d(head, eps=1e-3)
        self._fc = None if num_classes is None else nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.silu(self._bn1(self._conv_head(x))).mean((2, 3))
        return x if self._fc is None else self._fc(x)


def _rounded(channels: float) -> int:
    """To a multiple of 8, losing no more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class _SameConv(nn.Conv2d):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, image: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        missing = max(0, (-(-image // stride) - 1) * stride + kernel - image)
        self.around = (missing // 2, missing - missing // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.around))


class _MBConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, image: int) -> None:
        super().__init__()
        wide, reduced = inputs * expansion, max(1, inputs // 4)
        self.skip = stride == 1 and inputs == outputs
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv, self._bn1 = _SameConv(wide, wide, kernel, stride, image, groups=wide), nn.BatchNorm2d(wide, eps=1e-3)
        self._se_reduce, self._se_expand = nn.Conv2d(wide, reduced, 1), nn.Conv2d(reduced, wide, 1)
        self._project_conv, self._bn2 = nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        out = functional.silu(self._bn1(self._depthwise_conv(out)))
        gate = self._se_expand(functional.silu(self._se_reduce(out.mean((2, 3), keepdim=True))))
        out = self._bn2(self._project_conv(out * torch.sigmoid(gate)))
        return out + x if self.skip else out
