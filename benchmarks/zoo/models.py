"""The architectures that hold SE modules, by class of module, and how many of these run."""

from __future__ import annotations

import gc
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import Tensor, nn

from se_deploy.networks.quiet import quiet
from se_deploy.networks.shake import shake

#: Classes whose forward is one SE block, by the module of timm or torchvision that defines them.
SE_CLASSES = frozenset(
    {
        ("timm.models._efficientnet_blocks", "SqueezeExcite"),
        ("timm.models.hgnet", "EseModule"),
        ("timm.models.senet", "SEModule"),
        ("timm.layers.squeeze_excite", "EffectiveSEModule"),
        ("timm.layers.squeeze_excite", "SEModule"),
        ("timm.layers.squeeze_excite", "SqueezeExciteCl"),
        ("torchvision.ops.misc", "SqueezeExcitation"),
        ("torchvision.models.efficientnet", "SqueezeExcitation"),
        ("torchvision.models.mobilenetv3", "SqueezeExcitation"),
        ("torchvision.models.regnet", "SqueezeExcitation"),
    }
)

#: Sides of the square input, tried in this order before the one that the network was made for. Below 64, last maps are 1x1.
_SIDES = (64, 96)
_CLASSES = 10


def names() -> list[str]:
    """`timm:NAME` and `torchvision:NAME` of every architecture with an SE module, small ones first."""
    libraries: dict[str, list[str]] = {"timm": timm.list_models(), "torchvision": torchvision.models.list_models(torchvision.models)}
    sizes = {}
    for name in (f"{library}:{architecture}" for library, known in libraries.items() for architecture in known):
        module = _outline(name)
        if se_modules(module):
            sizes[name] = sum(parameter.numel() for parameter in module.parameters())
    return sorted(sizes, key=sizes.__getitem__)


def se_modules(module: nn.Module) -> list[nn.Module]:
    """The SE modules of a network."""
    return [part for part in module.modules() if (type(part).__module__, type(part).__name__) in SE_CLASSES]


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network with random weights that behave like trained ones, and an input of two images that it takes."""
    module = _fresh(name).eval()
    for side in (*_SIDES, _own_side(module)):
        try:
            with torch.no_grad():
                module(torch.zeros(2, 3, side, side))
        except (RuntimeError, AssertionError, ValueError):
            continue
        shake(module, (3, side, side), seed=0)
        return module, torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    raise ValueError(f"{name} takes no square input of three channels")


def executed(module: nn.Module, example: Tensor) -> int:
    """How many SE modules run when the network sees `example`."""
    count = 0

    def ran(*_: object) -> None:
        nonlocal count
        count += 1

    hooks = [part.register_forward_hook(ran) for part in se_modules(module)]
    with torch.no_grad():
        module(example)
    for hook in hooks:
        hook.remove()
    gc.collect()
    return count


def _outline(name: str) -> nn.Module:
    """A network without memory for its weights; with, where its constructor computes some."""
    try:
        with torch.device("meta"), quiet():
            return _fresh(name)
    except NotImplementedError:
        return _fresh(name)


def _fresh(name: str) -> nn.Module:
    library, _, architecture = name.partition(":")
    make: Callable[..., nn.Module] = timm.create_model if library == "timm" else torchvision.models.get_model
    return make(architecture, num_classes=_CLASSES)


def _own_side(module: nn.Module) -> int:
    config = getattr(module, "pretrained_cfg", None) or {}
    return int(config.get("input_size", (3, 224, 224))[1])
