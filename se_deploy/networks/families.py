"""Which registered names a state_dict can be of, by a look at its keys; each is then compared key by key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch

import timm
from torch import Tensor
from torchvision import models

from se_deploy.networks.derive import convolutions


def candidates(state: Mapping[str, Tensor]) -> list[str]:
    """Full names of the networks whose keys look like those of `state`, the plainest first."""
    names = [name for mark, family in _FAMILIES.items() if any(re.match(mark, key) for key in state) for name in family(state)]
    return sorted(dict.fromkeys(names), key=plainness)


def plainness(name: str) -> tuple[int, str]:
    """Orders names of equal keys: a variant's name is the plain one and more."""
    return len(name), name


def _timm(*modules: str) -> list[str]:
    return [name for module in modules for name in timm.list_models(module=module)]


def _resnet(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Names whose number is the depth, to within the rounding of their authors (a deep stem's two, 201 for 203)."""
    depth = convolutions(state)
    for name in _timm("resnet", "senet"):
        number = re.search(r"\d+", name)
        if number is None or abs(int(number[0]) - depth) <= 3:
            yield f"timm:{name}"


def _efficientnet(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Without a BatchNorm behind the head's convolution it is a MobileNetV3; an SE block in the very first block is EfficientNet's."""
    if "bn2.weight" not in state:
        yield from (f"timm:{name}" for name in _timm("mobilenetv3", "hardcorenas", "ghostnet"))
        return
    experts = any(".routing_fn." in key for key in state)
    first = "blocks.0.0.se.conv_reduce.weight" in state
    gated = ("*efficientnet_[!le]*", "*efficientnet_l2", "tinynet*") if first else ("*",)
    for name in _timm("efficientnet"):
        if any(fnmatch(name, glob) for glob in gated) and ("_cc_" in name) == experts:
            yield f"timm:{name}"


def _torchvision(*globs: str) -> Callable[[Mapping[str, Tensor]], Iterator[str]]:
    def names(_state: Mapping[str, Tensor]) -> Iterator[str]:
        for name in models.list_models(module=models):
            if any(fnmatch(name, glob) for glob in globs):
                yield f"torchvision:{name}"

    return names


def _of(*modules: str) -> Callable[[Mapping[str, Tensor]], Iterator[str]]:
    return lambda _state: (f"timm:{name}" for name in _timm(*modules))


#: A key that marks the family -> its names.
_FAMILIES: dict[str, Callable[[Mapping[str, Tensor]], Iterator[str]]] = {
    r"layer1\.0\.conv1\.": _resnet,
    r"conv_stem\.": _efficientnet,
    r"s1\.b1\.conv1\.": _of("regnet"),
    r"features\.0\.conv_dw\.": _of("rexnet"),
    r"stages\.0\.0\.conv\d_": _of("byobnet"),
    r"features\.0\.0\.weight$": _torchvision("efficientnet_*", "mobilenet_v3_*"),
    r"trunk_output\.block1\.": _torchvision("regnet_*"),
}
