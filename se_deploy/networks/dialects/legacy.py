"""What the dialects of Caffe's SE-ResNets share: timm's legacy_seresnet*, and how Caffe's networks see images."""

from __future__ import annotations

import re
from collections import Counter

from torch import Tensor

from se_deploy.artifacts import Preprocess
from se_deploy.errors import LoadError
from se_deploy.images import preset
from se_deploy.networks.dialects.base import State, Translation

#: Bottlenecks per stage -> the number in the name
_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_FC1 = re.compile(r"layer(\d)\.\d+\.se_module\.fc1\.weight")
_DENSE = re.compile(r"layer\d\.\d+\.se_module\.fc[12]\.weight")


def legacy(state: State, keys: str) -> Translation:
    """`state` in timm's names of a legacy_seresnet*; `keys` says in words whose keys they were.

    Raises:
        LoadError: the depth is none of timm's.
    """
    counts = Counter(found[1] for key in state if (found := _FC1.fullmatch(key)))
    layers = tuple(counts[stage] for stage in sorted(counts))
    if layers not in _DEPTHS:
        known = ", ".join(map(str, _DEPTHS))
        raise LoadError(f"a Caffe SE-ResNet of {layers} bottlenecks is none of {known}", "give the whole module with --trust")
    arch = f"timm:legacy_seresnet{_DEPTHS[layers]}"
    head, stem = state.get("last_linear.weight"), state.get("layer0.conv1.weight")
    classes = 0 if head is None else head.shape[0]
    kwargs = {"num_classes": classes, "in_chans": 3 if stem is None else stem.shape[1]}
    images, words = _images(classes)
    shaped = {key: _shaped(key, value) for key, value in state.items()}
    return Translation(arch, kwargs, shaped, images, f"{keys}, read as {arch}'s; {words}")


def _images(classes: int) -> tuple[Preprocess, str]:
    """ImageNet's 1000 classes are the paper's own networks; all others found are VGGFace2's or were made from them."""
    if classes != 1000:
        return preset("vggface2", 224, 224), "images as for VGGFace2 (BGR, 0-255, mean only), --preprocess says otherwise"
    images = preset("vggface2", 224, 224).model_copy(update={"mean": (104.0, 117.0, 123.0)})
    return images, "images as for Caffe's ImageNet (BGR, 0-255, mean 104, 117, 123), --preprocess says otherwise"


def _shaped(key: str, value: Tensor) -> Tensor:
    """1x1 convolutions and linear layers, either of which files hold, as timm has them."""
    if key == "last_linear.weight":
        return value.flatten(1)
    return value.reshape(*value.shape[:2], 1, 1) if _DENSE.fullmatch(key) else value
