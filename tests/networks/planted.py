"""Small SE networks of 32x32 images, each with one fault that an export must not hide; saved as a user's own pickled module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers.activations_me import HardSwishMe, SwishMe
from torch import Tensor, nn

SIZE = 32


class Net(nn.Module):
    """conv, `body`, an SE block whose gates differ, a linear layer."""

    def __init__(self, body: nn.Module | None = None, act: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.body = body or nn.Identity()
        self.act = act or nn.ReLU()
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.body(self.stem(x)))
        x = x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head(x.mean((2, 3)))


class FrozenBatch(nn.Module):
    """The batch as a Python number."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]), 8, -1).mean(2)[:, :, None, None] + x


class FrozenSides(nn.Module):
    """SAME padding of a stride of 2, counted in Python as EfficientNet-PyTorch does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (int(side) for side in x.shape[-2:])
        return self.conv(nn.functional.pad(x, (0, width % 2 + 1, 0, height % 2 + 1)))


class Branch(nn.Module):
    """Another formula for bright images than for dark ones."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 3 if x.mean() > 0 else x


class Restless(nn.Module):
    """Dropout that inference does not turn off."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.3, training=True)


class Chaotic(nn.Module):
    """Turns differences of the last digit into other answers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x * 1e7)


class Undefined(nn.Module):
    """NaN wherever a value is negative."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class OneByOne(nn.Module):
    """Takes a single image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, 8, *x.shape[-2:])


class Foreign(torch.autograd.Function):
    """What no exporter can look into."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(np.cbrt(x.detach().numpy()))


class CubeRoot(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Foreign.apply(x)


class MemoryEfficient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = SwishMe(), HardSwishMe()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x) - 1)


def save(folder: Path, body: nn.Module | None = None, *, name: str = "mine.pt", **said: Any) -> str:
    """A checkpoint with the network as an object; weights drawn so that gates are about 0.1 to 0.9."""
    torch.manual_seed(0)
    net = Net(body).eval()
    nn.init.normal_(net.up.weight, 0, 1.5)
    nn.init.normal_(net.up.bias, 0, 1)
    nn.init.normal_(net.down.weight, 0, 1)
    nn.init.normal_(net.head.weight, 0, 1)
    torch.save({"model": net, "input_size": [3, SIZE, SIZE], **said}, folder / name)
    return str(folder / name)
