"""Networks as other people wrote them, for checkpoints whose keys are theirs."""

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from se_deploy.images import preset
from se_deploy.verify.probes import probes


def shaken(module: nn.Module, size: int = 64, channels: int = 3, prepared: str = "imagenet") -> nn.Module:
    """Gives a fresh network weights that show a wrong fusion: BatchNorm that does something, gates that differ, finite activations.

    BatchNorm's statistics are those of images `prepared` as the network will see them: on others its activations grow with depth, its
    gates jump between 0 and 1, and it answers anything to the same image.
    """
    how = preset("gray" if channels == 1 else prepared, size, size)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "se.fc" in name or "1x1_up" in name:
                weight.copy_(torch.randn_like(weight) * (2 / max(1, weight[0].numel()) ** 0.5))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0  # one pass in train mode leaves the statistics of that pass
                nn.init.uniform_(layer.weight, 0.5, 1.0)
                nn.init.normal_(layer.bias, std=0.2)
        module.train()(torch.from_numpy(probes(16, (channels, size, size), how, seed=7)))
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1
    return module.eval()


class SELayer(nn.Module):
    """moskomule/senet.pytorch's layer: Linear, ReLU, Linear, Sigmoid, without biases."""

    def __init__(self, channel: int, reduction: int = 16) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, _, _ = x.size()
        return x * self.fc(self.avg_pool(x).view(b, c)).view(b, c, 1, 1).expand_as(x)


class SEBottleneck(torchvision.models.resnet.Bottleneck):
    """torchvision's bottleneck with the layer before the shortcut's add."""

    reduction = 16

    def __init__(self, inplanes: int, planes: int, *args: object, **kwargs: object) -> None:
        super().__init__(inplanes, planes, *args, **kwargs)
        self.se = SELayer(planes * 4, self.reduction)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.se(self.bn3(self.conv3(out)))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def moskomule_se_resnet50(num_classes: int = 1000, layers: tuple[int, ...] = (3, 4, 6, 3)) -> nn.Module:
    """SE-ResNet with torchvision's keys and bias-free `se.fc.0`, `se.fc.2`."""
    return torchvision.models.ResNet(SEBottleneck, list(layers), num_classes=num_classes)


class VGGFace2SENet50(nn.Module):
    """SENet-50 as converted from the Caffe files of VGGFace2: flat names, BatchNorm named after its convolution, SE as 1x1 convolutions."""

    def __init__(self, num_classes: int = 8631, layers: tuple[int, ...] = (3, 4, 6, 3), slash: bool = False) -> None:
        super().__init__()
        self.joint, self.layers = "/" if slash else "_", layers
        self._conv("conv1", "7x7_s2", 3, 64, 7, 2)
        inside = 64
        for stage, blocks in enumerate(layers):
            planes = 64 * 2**stage
            for block in range(blocks):
                name, stride = f"conv{stage + 2}_{block + 1}", 2 if stage and not block else 1
                self._conv(name, "1x1_reduce", inside, planes, 1, stride)
                self._conv(name, "3x3", planes, planes, 3, 1)
                self._conv(name, "1x1_increase", planes, planes * 4, 1, 1)
                if not block:
                    self._conv(name, "1x1_proj", inside, planes * 4, 1, stride)
                self.add_module(f"{name}{self.joint}1x1_down", nn.Conv2d(planes * 4, planes // 4, 1))
                self.add_module(f"{name}{self.joint}1x1_up", nn.Conv2d(planes // 4, planes * 4, 1))
                inside = planes * 4
        self.classifier = nn.Linear(inside, num_classes)

    def _conv(self, name: str, part: str, inside: int, outside: int, kernel: int, stride: int) -> None:
        full = f"{name}{self.joint}{part}"
        self.add_module(full, nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False))
        self.add_module(f"{full}{self.joint}bn", nn.BatchNorm2d(outside))

    def _run(self, name: str, part: str, x: torch.Tensor) -> torch.Tensor:
        full = f"{name}{self.joint}{part}"
        return self._modules[f"{full}{self.joint}bn"](self._modules[full](x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self._run("conv1", "7x7_s2", x)), 3, 2, ceil_mode=True)
        for stage, blocks in enumerate(self.layers):
            for block in range(blocks):
                x = self._block(f"conv{stage + 2}_{block + 1}", x, first=not block)
        return self.classifier(x.mean((2, 3)))

    def _block(self, name: str, x: torch.Tensor, first: bool) -> torch.Tensor:
        out = F.relu(self._run(name, "1x1_reduce", x))
        out = self._run(name, "1x1_increase", F.relu(self._run(name, "3x3", out)))
        gate = F.relu(self._modules[f"{name}{self.joint}1x1_down"](F.adaptive_avg_pool2d(out, 1)))
        gate = torch.sigmoid(self._modules[f"{name}{self.joint}1x1_up"](gate))
        return F.relu(out * gate + (self._run(name, "1x1_proj", x) if first else x))


def vggface2_senet50(num_classes: int = 8631) -> nn.Module:
    """The whole network, names joined by underscores."""
    return VGGFace2SENet50(num_classes)
