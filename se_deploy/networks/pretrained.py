"""`timm:NAME`, `torchvision:NAME` and `ours:NAME`: published weights, or seeded random ones."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from torch import nn
from torchvision import models

from se_deploy.artifacts import Progress
from se_deploy.errors import LoadError
from se_deploy.networks.build import KINDS, build, known
from se_deploy.networks.configs import config, wanted
from se_deploy.networks.metadata import Said
from se_deploy.networks.network import Network
from se_deploy.networks.shake import shake
from se_deploy.networks.skeleton import skeleton

#: The side to which larger inputs are cut for measuring BatchNorm's statistics.
_SIDE = 96
_RANDOM = "take random weights with --random, or give a checkpoint file"


def is_name(source: str) -> bool:
    """Whether a SOURCE names a network of a library rather than a file."""
    return source.partition(":")[0] in KINDS


def published(source: str, num_classes: int | None, random: bool, seed: int, progress: Progress) -> Network:
    """The named network, with its library's weights or, where `random`, with weights drawn by `seed`.

    Raises:
        LoadError: nothing has that name, no weights are published for it, they cannot be fetched, or have other classes.
    """
    arch = known(source)
    kwargs: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    progress(f"{'draw' if random else 'fetch'} {source}", 0, 1)
    module = _drawn(arch, kwargs, seed) if random else _fetched(arch, num_classes)
    progress(f"{'draw' if random else 'fetch'} {source}", 1, 1)
    bones = skeleton(arch, kwargs)
    size, how = wanted(config(arch), Said(), bones.channels)
    notes = (f"random weights, seed {seed}: its answers mean nothing",) if random else ()
    return Network(module, arch, {"num_classes": bones.classes}, size, how, None if random else _labels(arch, bones.classes), notes)


def _drawn(arch: str, kwargs: dict[str, Any], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(arch, **kwargs)
    base = config(arch)
    shake(module, base.size if base.fixed else (base.size[0], min(base.size[1], _SIDE), min(base.size[2], _SIDE)), seed)
    return module


def _fetched(arch: str, num_classes: int | None) -> nn.Module:
    kind, _, name = arch.partition(":")
    place = _place(kind, name)
    if place is None:
        raise LoadError(f"no weights are published for {arch}", _RANDOM)
    _reach(arch, place)
    try:
        module: nn.Module = timm.create_model(name, pretrained=True) if kind == "timm" else models.get_model(name, weights="DEFAULT")
    except (OSError, URLError, HfHubHTTPError) as error:
        raise LoadError(f"the weights of {arch} cannot be fetched: {error}", _RANDOM) from error
    classes = skeleton(arch, {}).classes
    if num_classes not in (None, classes):
        raise LoadError(f"{arch} has {classes} classes, --num-classes says {num_classes}", "leave it out, or take --random")
    return module.eval()


def _place(kind: str, name: str) -> str | None:
    """The address of the weights, or None where there are none or they are here already."""
    if kind == "ours":
        return None
    if kind == "torchvision":
        return str(models.get_model_weights(name).DEFAULT.url)
    cfg = timm.models.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        return None
    return str(huggingface_hub.constants.ENDPOINT if cfg.hf_hub_id else cfg.url)


def _reach(arch: str, place: str) -> None:
    """Fails at once where the host has no address: the libraries would try for most of a minute."""
    if urllib.request.getproxies():
        return
    host = urlsplit(place).hostname or ""
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise LoadError(f"the weights of {arch} cannot be fetched: no network to {host}", _RANDOM) from error


def _labels(arch: str, classes: int) -> tuple[str, ...] | None:
    kind, _, name = arch.partition(":")
    if kind != "torchvision":
        return None
    names = tuple(models.get_model_weights(name).DEFAULT.meta["categories"])
    return names if len(names) == classes else None
