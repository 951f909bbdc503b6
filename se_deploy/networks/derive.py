"""Depth, width, cardinality and stem of the ResNet-like families, read from the shapes of their weights.

What shapes cannot show comes from the family: which convolution has the stride, how the gate is computed, where pooling is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from se_deploy.networks.skeleton import Shape

#: A name in the family, and what its constructor is to be told otherwise.
Derived = tuple[str, dict[str, Any]]


def derive(state: Mapping[str, Tensor]) -> Derived | None:
    """The nearest registered name and the arguments that give `state`'s shapes, or None where it is no ResNet-like network."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        if "layer0.conv1.weight" in shapes:
            return _senet(shapes)
        return _resnet(shapes) if "layer1.0.conv1.weight" in shapes else None
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # keys missing, or shapes that no such network has
        return None


def convolutions(state: Mapping[str, Tensor]) -> int:
    """The depth by which ResNets are called: convolutions of the blocks and the two ends; 50 for layers of 3, 4, 6 and 3 bottlenecks."""
    blocks = [key for key in state if re.fullmatch(r"layer[1-9]\.\d+\.conv1\.weight", key)]
    each = 3 if any(re.fullmatch(r"layer1\.\d+\.conv3\.weight", key) for key in state) else 2
    return len(blocks) * each + 2


def _layers(shapes: Mapping[str, Shape]) -> list[int]:
    """Blocks in each of the four stages."""
    return [len({key.split(".")[1] for key in shapes if key.startswith(f"layer{stage}.")}) for stage in (1, 2, 3, 4)]


def _resnet(shapes: Mapping[str, Shape]) -> Derived:
    """timm's ResNet: `block_args` and the stride in the 3x3 convolution come with the name."""
    deep = "layer1.0.conv3.weight" in shapes
    expansion, last = (4, "conv3") if deep else (1, "conv2")
    kwargs: dict[str, Any] = {"layers": _layers(shapes)}
    planes = [shapes[f"layer{stage}.0.{last}.weight"][0] // expansion for stage in (1, 2, 3, 4)]
    if planes != [64, 128, 256, 512]:
        kwargs["channels"] = planes
    first, second = shapes["layer1.0.conv1.weight"][0], shapes["layer1.0.conv2.weight"]
    if deep:
        groups = first // second[1]
        width = second[0] // groups * 64 // planes[0]
        kwargs |= _unless({"cardinality": 1, "base_width": 64}, cardinality=groups, base_width=width)
    kwargs |= _unless({"block_reduce_first": 1}, block_reduce_first=(second[0] if deep else planes[0]) // first)
    kwargs |= _stem(shapes) | _downsample(shapes)
    gated = any(".se.fc1." in key for key in shapes)
    return f"timm:{'se' if gated else ''}resnet{50 if deep else 18}", kwargs


def _stem(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """One 7x7 convolution, or three 3x3 of equal ("deep") or growing ("deep_tiered") width."""
    pooled = {"replace_stem_pool": True} if "maxpool.0.weight" in shapes else {}
    if "conv1.weight" in shapes:
        return pooled | _unless({"stem_width": 64}, stem_width=shapes["conv1.weight"][0])
    first, width = shapes["conv1.0.weight"][0], shapes["conv1.3.weight"][0]
    return pooled | {"stem_width": width, "stem_type": "deep" if first == width else "deep_tiered"}


def _downsample(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """A pool before the shortcut's convolution shifts its index from 0 to 1."""
    if "layer2.0.downsample.0.weight" in shapes:
        return _unless({"down_kernel_size": 1}, down_kernel_size=shapes["layer2.0.downsample.0.weight"][2])
    return {"avg_down": True}


def _senet(shapes: Mapping[str, Shape]) -> Derived:
    """timm's SENet (Cadene's): the kind of block tells the stride's place and comes with the name."""
    kwargs: dict[str, Any] = {"layers": _layers(shapes)}
    first, second = shapes["layer1.0.conv1.weight"][0], shapes["layer1.0.conv2.weight"]
    groups = first // second[1]
    kwargs["reduction"] = shapes["layer1.0.se_module.fc1.weight"][1] // shapes["layer1.0.se_module.fc1.weight"][0]
    stem = "layer0.conv3.weight"
    kwargs |= _unless({"inplanes": 64}, inplanes=shapes[stem if stem in shapes else "layer0.conv1.weight"][0])
    if stem in shapes:
        kwargs["input_3x3"] = True
    kernel = shapes["layer2.0.downsample.0.weight"][2]
    kwargs |= _unless({"downsample_kernel_size": 1}, downsample_kernel_size=kernel)
    kwargs |= _unless({"downsample_padding": 0}, downsample_padding=kernel // 2)
    if "layer1.0.conv3.weight" not in shapes:
        return "timm:legacy_seresnet18", kwargs
    if first != second[0]:
        return "timm:legacy_senet154", kwargs | {"groups": groups}
    return ("timm:legacy_seresnet50", kwargs) if groups == 1 else ("timm:legacy_seresnext50_32x4d", kwargs | {"groups": groups})


def _unless(usual: dict[str, int], **found: int) -> dict[str, int]:
    """What was found, where it is not the usual."""
    return {key: value for key, value in found.items() if value != usual[key]}
