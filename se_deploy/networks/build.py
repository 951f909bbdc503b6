"""Architecture names -> modules: `timm:NAME`, `torchvision:NAME` and `ours:NAME`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import timm
import torch
from torch import nn
from torchvision import models

from se_deploy.errors import LoadError
from se_deploy.networks import zoo
from se_deploy.networks.gates import narrow

#: Where names are looked up, in this order.
KINDS = ("timm", "torchvision", "ours")


def build(arch: str, **kwargs: Any) -> nn.Module:
    """A fresh module in eval mode on the CPU, FP32, with random weights; the global random state is left as it was.

    `kwargs` go to the library's own constructor; two are ours, and hold for every library: `in_chans`, and `se_reduced`, the
    reduced widths of the SE blocks in the module's order.

    Raises:
        LoadError: no network has that name.
    """
    kind, _, name = known(arch).partition(":")
    widths: Sequence[int] | None = kwargs.pop("se_reduced", None)
    with torch.random.fork_rng(devices=[]):
        module = _MAKERS[kind](name, **kwargs)
        if widths is not None:
            narrow(module, widths)
    return module.eval()


def known(arch: str) -> str:
    """The full name, `library:NAME`, of a full or a bare one, which means timm's, then torchvision's, then ours.

    Raises:
        LoadError: nothing has that name.
    """
    found = meanings(arch)
    if not found:
        bare = arch.partition(":")[2] or arch
        close = difflib.get_close_matches(bare, [*timm.list_models(), *models.list_models(module=models), *zoo.BUILDERS], n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "check the name"
        raise LoadError(f"no network is called {arch!r} in timm, torchvision or ours", hint)
    return found[0]


def meanings(arch: str) -> list[str]:
    """Every full name that a full or bare name can stand for."""
    kind, colon, name = arch.partition(":")
    if not colon:
        return [f"{kind}:{arch}" for kind in KINDS if _exists(kind, arch)]
    return [arch] if _exists(kind, name) else []


def _exists(kind: str, name: str) -> bool:
    if kind == "timm":
        return bool(timm.is_model(name)) and ("." not in name or name in timm.list_pretrained())
    if kind == "torchvision":
        return name in models.list_models(module=models)
    return kind == "ours" and name in zoo.BUILDERS


def _torchvision(name: str, **kwargs: Any) -> nn.Module:
    """A torchvision classifier; its first convolution is made anew for another number of input channels."""
    channels = kwargs.pop("in_chans", None)
    module: nn.Module = models.get_model(name, weights=None, **kwargs)
    if channels is not None:
        where, conv = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
        same: dict[str, Any] = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding")}
        fresh = nn.Conv2d(channels, conv.out_channels, bias=conv.bias is not None, **same)
        module.set_submodule(where, fresh)
    return module


def _ours(name: str, **kwargs: Any) -> nn.Module:
    return zoo.BUILDERS[name](**kwargs)


_MAKERS: dict[str, Callable[..., nn.Module]] = {"timm": timm.create_model, "torchvision": _torchvision, "ours": _ours}
