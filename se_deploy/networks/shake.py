"""Random weights that behave like trained ones: BatchNorm that does something, gates that differ, answers that vary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from se_deploy.networks.gates import gates

#: Images to calibrate on.
_IMAGES = 8
#: The gates' logits: their mean and deviations, which spread the sigmoids over about 0.2 to 0.95. A mean above 0 leaves less room above
#: the usual, so that a depth of 50 blocks doesn't multiply what an unusual image makes of it.
_MEAN, _OVER_CHANNELS, _OVER_IMAGES = 1.0, 1.2, 0.3
#: What no trained scale is as small as.
_SILENT = 1e-3
#: The deviation of the classes' scores.
_SCORES = 2.0


def shake(module: nn.Module, size: tuple[int, int, int], seed: int) -> None:
    """Moves the fresh weights of `module`, which takes inputs of `size` (C, H, W), away from their degenerate start, in place.

    Scales and shifts of BatchNorm are drawn about 1 and 0, branches that start silent are given a voice, and statistics are measured on
    seeded images and then moved a little, so that activations stay of the order of 1 through any depth. SE gates and class scores are
    scaled to vary between images and channels.
    """
    generator = torch.Generator().manual_seed(seed)
    images = _images(size, generator)
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    with torch.no_grad():
        _wake(module, generator)
        for norm in norms:
            _draw(norm, generator)
        with _measuring(norms), _scaling(module):
            module(images)
        for norm in norms:
            _nudge(norm, generator)
        _spread_classes(module, images)


def _images(size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Normalised images from flat and smooth to white noise, each with a colour, a roughness and a contrast of its own.

    Whatever a network is probed with later lies between them, so its activations stay near those measured.
    """
    channels, height, width = size
    images = torch.randn(_IMAGES, channels, 1, 1, generator=generator).expand(-1, -1, height, width)
    for side, most in ((4, 1), (16, 1), (64, 1), (max(height, width), 3)):
        noise = torch.randn(_IMAGES, channels, side, side, generator=generator)
        rough = most * torch.rand(_IMAGES, 1, 1, 1, generator=generator)
        images = images + rough * nn.functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return (0.3 + 2 * torch.rand(_IMAGES, 1, 1, 1, generator=generator)) * images / images.std()


def _draw(norm: _BatchNorm, generator: torch.Generator) -> None:
    """Scales of 0.5 to 1.5, shifts of about 0.2; a scale that starts at zero is a residual branch that starts silent."""
    if norm.weight is not None:
        norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
        norm.bias.copy_(0.2 * torch.randn(norm.bias.shape, generator=generator))


def _nudge(norm: _BatchNorm, generator: torch.Generator) -> None:
    """Statistics of other images than these: the mean off by about a tenth of the deviation, the variance by as much."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return
    mean += 0.1 * variance.sqrt() * torch.randn(mean.shape, generator=generator)
    variance *= torch.exp(0.1 * torch.randn(variance.shape, generator=generator))
    variance.clamp_(min=1e-3)


def _wake(module: nn.Module, generator: torch.Generator) -> None:
    """Layer scales and skip gains that start at nearly zero, so that nothing of their branch can be seen, become 0.2 to 0.6."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if name not in ("weight", "bias") and parameter.numel() and parameter.abs().max() <= _SILENT:
                parameter.copy_(0.2 + 0.4 * torch.rand(parameter.shape, generator=generator))


@contextmanager
def _measuring(norms: list[_BatchNorm]) -> Iterator[None]:
    """BatchNorm layers that normalise by the batch and keep its statistics."""
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.eval()
            norm.momentum = momentum


@contextmanager
def _scaling(module: nn.Module) -> Iterator[None]:
    """SE blocks whose last layer is scaled, while the images pass, to give logits of the wanted deviation about zero."""
    layers = [module.get_submodule(f"{gate.name}.{gate.expand}") for gate in gates(module)]
    hooks = [layer.register_forward_hook(_scaled) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scaled(layer: Any, _inputs: Any, output: Tensor) -> Tensor:
    """Logits that differ more between channels than between images, as in trained networks."""
    usual = output.mean(0, keepdim=True)
    within = _OVER_IMAGES / (output - usual).pow(2).mean().sqrt().clamp(min=1e-6)
    layer.weight *= within
    if layer.bias is None:
        return output * within
    shift = usual - usual.mean()
    shift = _MEAN + shift * _OVER_CHANNELS / shift.std().clamp(min=1e-6)
    layer.bias.copy_(layer.bias * within - (usual * within - shift).flatten())
    return (output - usual) * within + shift


def _spread_classes(module: nn.Module, images: Tensor) -> None:
    """The last linear layer scaled so that each class's score is about zero over the images, and varies."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not linear or linear[-1].bias is None:
        return
    scores: Tensor = module(images)
    if scores.ndim != 2 or scores.shape[1] != linear[-1].out_features:
        return
    scale = _SCORES / scores.std(0).clamp(min=1e-6)
    linear[-1].weight *= scale[:, None]
    linear[-1].bias.copy_((linear[-1].bias - scores.mean(0)) * scale)
