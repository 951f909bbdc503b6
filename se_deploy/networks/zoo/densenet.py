"""SE-DenseNet: timm's DenseNet (Huang et al., 2017) with SE blocks on what each dense layer adds and on each transition's output."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from torch import Tensor, nn

from se_deploy.networks.zoo.se import reduction_of, squeeze_excite

#: Dense layers per block -> depth.
DEPTHS: dict[tuple[int, ...], int] = {(6, 12, 24, 16): 121, (6, 12, 32, 32): 169, (6, 12, 48, 32): 201}

_LAYER = re.compile(r"features\.denseblock(\d)\.denselayer\d+\.se\.fc1\.weight")


def se_densenet(depth: int, num_classes: int = 1000, in_chans: int = 3, reduction: int | None = 16) -> nn.Module:
    """The network of 121, 169 or 201 layers; takes (N, in_chans, H, W), gives (N, num_classes)."""
    net: nn.Module = timm.create_model(f"densenet{depth}", num_classes=num_classes, in_chans=in_chans)
    if reduction is None:
        return net
    for name, module in net.get_submodule("features").named_children():
        if name.startswith("denseblock"):
            for key, layer in list(module.named_children()):
                module.add_module(key, nn.Sequential(OrderedDict(layer=layer, se=_after(layer, "conv2", reduction))))
        elif name.startswith("transition"):
            module.add_module("se", _after(module, "conv", reduction))
    return net


def _after(module: nn.Module, conv: str, reduction: int) -> nn.Module:
    return squeeze_excite(module.get_parameter(f"{conv}.weight").shape[0], reduction)


#: name -> builder
BUILDERS: dict[str, Callable[..., nn.Module]] = {f"se_densenet{depth}": partial(se_densenet, depth) for depth in DEPTHS.values()}


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and arguments that make a network with these keys and shapes, or None; without SE blocks it is timm's."""
    first, last = state.get("features.conv0.weight"), state.get("classifier.weight")
    counts = Counter(found[1] for key in state if (found := _LAYER.fullmatch(key)))
    depth = DEPTHS.get(tuple(counts[block] for block in sorted(counts)))
    if first is None or last is None or depth is None:
        return None
    return f"se_densenet{depth}", {"num_classes": last.shape[0], "in_chans": first.shape[1], "reduction": reduction_of(state)}
