"""What images a network wants: from its library's own configuration, and from what a checkpoint says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
from torchvision import models

from se_deploy.artifacts import Preprocess
from se_deploy.images import sized
from se_deploy.networks import zoo
from se_deploy.networks.metadata import Said

#: The share of the short side that the crop takes, where nothing says.
_SHARE = 0.875


@dataclass(frozen=True)
class Config:
    """`size` is (channels, height, width); `share` the part of the resized short side that the crop takes."""

    size: tuple[int, int, int] = (3, 224, 224)
    share: float = _SHARE
    preprocess: Preprocess | None = None
    #: Whether the network runs at this size alone.
    fixed: bool = False


def config(arch: str | None) -> Config:
    """The configuration that a library publishes for a full name."""
    kind, _, name = (arch or "").partition(":")
    if kind == "timm":
        return _timm(timm.models.get_pretrained_cfg(name))
    if kind == "torchvision":
        return _torchvision(models.get_model_weights(name).DEFAULT.transforms())
    side = zoo.INPUT_SIZES.get(name, 224)
    return Config(size=(3, side, side))


def wanted(base: Config, said: Said, channels: int) -> tuple[tuple[int, int, int], Preprocess | None]:
    """The input size and the preprocessing of a network of `channels` input channels: what its checkpoint says, then the configuration.

    The preprocessing is None where neither says anything, or where what they say is for another number of channels.
    """
    height, width = said.size or base.size[1:]
    given: dict[str, Any] = {"mean": said.mean, "std": said.std, "interpolation": said.interpolation}
    given = {key: value for key, value in given.items() if value is not None}
    how = base.preprocess
    if how is None and not (given.keys() & {"mean", "std"}):
        return (channels, height, width), None
    update = {**given}
    if said.size is not None or said.crop is not None or how is None:
        update |= sized(height, width, said.crop or base.share)
    if said.mean is not None and max(abs(value) for value in said.mean) > 1:
        update["scale"] = 1.0  # means of pixels that run to 255
    how = (how or Preprocess()).model_copy(update=update)
    if channels == 1:
        how = how.model_copy(update={"color": "L"})
    return (channels, height, width), how if len(how.mean) == len(how.std) == channels else None


def _timm(cfg: Any) -> Config:
    if cfg is None:
        return Config()
    share = cfg.crop_pct or _SHARE
    channels, height, width = cfg.input_size
    crop = {"resize": (height, width), "crop": None} if cfg.crop_mode == "squash" and share == 1 else sized(height, width, share)
    known = {} if cfg.interpolation in (None, "", "random") else {"interpolation": cfg.interpolation}
    how = Preprocess(mean=tuple(cfg.mean), std=tuple(cfg.std), **known, **crop)
    return Config((channels, height, width), share, how, fixed=bool(cfg.fixed_input_size))


def _torchvision(transforms: Any) -> Config:
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    how = Preprocess(
        resize=resize,
        crop=crop,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
    return Config((3, crop, crop), crop / resize, how)
