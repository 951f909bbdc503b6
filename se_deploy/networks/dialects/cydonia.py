"""cydonia999's `VGGFace2-pytorch`: VGGFace2's Caffe networks in torchvision's names, the SE layers as `conv4` and `conv5` of a block."""

from __future__ import annotations

import re

from se_deploy.networks.dialects.base import State, Translation
from se_deploy.networks.dialects.legacy import legacy

_ENDS = {"conv1": "layer0.conv1", "bn1": "layer0.bn1", "fc": "last_linear"}
_SE = re.compile(r"(layer\d\.\d+)\.conv([45])\.(weight|bias)")


def translate(state: State) -> Translation | None:
    """VGGFace2's SENet-50, with its classifier.

    Raises:
        LoadError: the depth is none of timm's.
    """
    if "layer1.0.conv4.weight" not in state or "layer1.0.conv5.weight" not in state:
        return None
    return legacy({_renamed(key): value for key, value in state.items()}, "the keys are VGGFace2-pytorch's")


def _renamed(key: str) -> str:
    found = _SE.fullmatch(key)
    if found is not None:
        return f"{found[1]}.se_module.fc{int(found[2]) - 3}.{found[3]}"
    layer, _, what = key.rpartition(".")
    return f"{_ENDS[layer]}.{what}" if layer in _ENDS else key
