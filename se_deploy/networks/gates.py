"""Finding the SE blocks of a module by their two layers, and giving them another reduced width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

#: (reduce, expand) as timm, torchvision and the zoo name them.
_PAIRS = (("fc1", "fc2"), ("conv_reduce", "conv_expand"))


@dataclass(frozen=True)
class Gate:
    """An SE block of a module: the names of its layers below it, and their sizes."""

    name: str
    reduce: str
    expand: str
    norm: str | None
    channels: int
    reduced: int


def gates(module: nn.Module) -> list[Gate]:
    """The SE blocks of `module` in its own order: two layers of which the second undoes the change of width of the first."""
    return [gate for name, child in module.named_modules() if (gate := _gate(name, child)) is not None]


def narrow(module: nn.Module, widths: Sequence[int]) -> None:
    """Gives the SE blocks of `module`, in order, these reduced widths; layers that change are made anew."""
    found = gates(module)
    if len(found) != len(widths):
        raise ValueError(f"{len(widths)} reduced widths for {len(found)} SE blocks")
    for gate, width in zip(found, widths, strict=True):
        if gate.reduced != width:
            _resize(module.get_submodule(gate.name), gate, width)


def _gate(name: str, module: nn.Module) -> Gate | None:
    children = dict(module.named_children())
    if any(isinstance(child, nn.Dropout) for child in children.values()):  # a transformer's MLP, whose layers have the same names
        return None
    for first, second in _PAIRS:
        if first not in children or second not in children:
            continue
        down, up = _sizes(children[first]), _sizes(children[second])
        if down is None or up is None or down != up[::-1]:
            continue
        norm = "bn" if isinstance(children.get("bn"), nn.BatchNorm2d) else None
        return Gate(name, first, second, norm, *down)
    return None


def _sizes(layer: nn.Module) -> tuple[int, int] | None:
    """Channels in and out of a dense layer."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.in_channels, layer.out_channels
    return None


def _resize(block: nn.Module, gate: Gate, width: int) -> None:
    setattr(block, gate.reduce, _dense(getattr(block, gate.reduce), gate.channels, width))
    setattr(block, gate.expand, _dense(getattr(block, gate.expand), width, gate.channels))
    if gate.norm is not None:
        norm = getattr(block, gate.norm)
        setattr(block, gate.norm, nn.BatchNorm2d(width, eps=norm.eps, momentum=norm.momentum))


def _dense(layer: nn.Linear | nn.Conv2d, inputs: int, outputs: int) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias=layer.bias is not None)
    return nn.Conv2d(inputs, outputs, 1, bias=layer.bias is not None)
