"""moskomule's `senet.pytorch`: torchvision's ResNet with `se.fc.0` and `se.fc.2` in each block, FCs that usually have no bias.

Many training scripts copy that SE layer. timm's `seresnet*` compute the same with 1x1 convolutions, their biases zero.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from torch import Tensor

from se_deploy.networks.dialects.base import State, Translation

_LAYERS = {"0": "fc1", "2": "fc2"}
_SE = re.compile(r"(layer(\d)\.(\d+))\.se\.fc\.([02])\.(weight|bias)")

#: (bottlenecks, blocks per stage) -> the number in the name
_DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}


def translate(state: State) -> Translation | None:
    """Any depth and any reduced widths; with three stages and a 3x3 stem it is the same author's network for CIFAR.

    `fc` may be missing in the others (features only).
    """
    stem, fc = state.get("conv1.weight"), state.get("fc.weight")
    if stem is None or "layer1.0.se.fc.0.weight" not in state:
        return None
    gates = _gates(state)
    layers = tuple(Counter(stage for stage, _ in gates).values())
    kwargs: dict[str, Any] = {"num_classes": 0 if fc is None else fc.shape[0], "in_chans": stem.shape[1]}
    if len(layers) == 3 and stem.shape[2] == 3 and fc is not None:
        arch, least = "ours:se_resnet_cifar", 1
        kwargs["layers"] = list(layers)
    else:
        arch, least = _resnet(layers, "layer1.0.conv3.weight" in state, kwargs), 8
    if any(reduced != _usual(channels, least) for channels, reduced in gates.values()):
        kwargs["se_reduced"] = [reduced for _, reduced in gates.values()]
    return Translation(arch, kwargs, _renamed(state), None, f"the keys are senet.pytorch's, read as {arch}'s")


def _resnet(layers: tuple[int, ...], bottlenecks: bool, kwargs: dict[str, Any]) -> str:
    """timm's name; an unusual depth is added to `kwargs`."""
    depth = _DEPTHS.get((bottlenecks, layers))
    if depth is None:
        kwargs["layers"] = list(layers)
    return f"timm:seresnet{depth or (50 if bottlenecks else 18)}"


def _usual(channels: int, step: int) -> int:
    """What the network that is built reduces `channels` to by itself: a sixteenth of them, rounded to a multiple of `step`."""
    return max(step, int(channels / 16 + step / 2) // step * step)


def _gates(state: State) -> dict[tuple[int, int], tuple[int, int]]:
    """(stage, block) -> (channels, reduced), in the network's order, which is not always the file's."""
    found = {}
    for key, value in state.items():
        match = _SE.fullmatch(key)
        if match and (match[4], match[5]) == ("0", "weight"):
            found[int(match[2]), int(match[3])] = (int(value.shape[1]), int(value.shape[0]))
    return dict(sorted(found.items()))


def _renamed(state: State) -> State:
    renamed: State = {}
    for key, value in state.items():
        match = _SE.fullmatch(key)
        if match is None:
            renamed[key] = value
            continue
        layer = f"{match[1]}.se.{_LAYERS[match[4]]}"
        if match[5] == "bias":
            renamed[f"{layer}.bias"] = value
            continue
        renamed[f"{layer}.weight"] = _convolution(value)
        if f"{match[1]}.se.fc.{match[4]}.bias" not in state:
            renamed[f"{layer}.bias"] = value.new_zeros(value.shape[0])
    return renamed


def _convolution(weight: Tensor) -> Tensor:
    """An FC's weight as a 1x1 convolution's."""
    return weight.reshape(weight.shape[0], weight.shape[1], 1, 1)
