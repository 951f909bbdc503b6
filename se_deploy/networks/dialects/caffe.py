"""SE-ResNets converted from Caffe, VGGFace2's `senet50` above all: `conv2_1/1x1_down`, `conv2_1_1x1_down` and mixtures of both.

They have the stride in a bottleneck's first convolution, a pool without padding and SE layers with biases: timm's legacy_seresnet*.
Batch normalisation is `…/bn` (Caffe's own scale in `…/bn/scale` or merged) or `…_bn`.
"""

from __future__ import annotations

import re

from se_deploy.errors import LoadError
from se_deploy.networks.dialects.base import State, Translation
from se_deploy.networks.dialects.legacy import legacy

_KEY = re.compile(
    r"conv(?P<stage>[1-5])(?:_(?P<block>\d+))?[/_](?P<layer>7x7_s2|3x3|1x1_(?:reduce|increase|proj|down|up))"
    r"(?P<bn>[/_]bn(?:[/_]scale)?)?\.(?P<what>\w+)"
)
#: Caffe's layer -> timm's, with and without batch normalisation behind it
_LAYERS = {
    "1x1_reduce": ("conv1", "bn1"),
    "3x3": ("conv2", "bn2"),
    "1x1_increase": ("conv3", "bn3"),
    "1x1_proj": ("downsample.0", "downsample.1"),
    "1x1_down": ("se_module.fc1", ""),
    "1x1_up": ("se_module.fc2", ""),
}
#: The last layer: of classes, or of an embedding (senet50_256, senet50_128); a 1x1 convolution or linear.
_HEADS = ("classifier", "feat_extract")


def translate(state: State) -> Translation | None:
    """Any depth that timm has; the last layer may be missing (features only).

    Raises:
        LoadError: an embedding and a classifier behind it are both there, or the depth is none of timm's.
    """
    if not any((found := _KEY.fullmatch(key)) and found["layer"] == "1x1_down" for key in state):
        return None
    if all(f"{head}.weight" in state for head in _HEADS):
        raise LoadError(
            "the checkpoint holds both layers feat_extract and classifier: its embedding and what was trained on it",
            "leave the one out that is not wanted",
        )
    renamed = {_renamed(key): value for key, value in state.items()}
    return legacy(renamed, "the keys are a Caffe SE-ResNet's")


def _renamed(key: str) -> str:
    head, _, what = key.rpartition(".")
    if head in _HEADS:
        return f"last_linear.{what}"
    found = _KEY.fullmatch(key)
    if found is None:
        return key
    if found["layer"] == "7x7_s2":
        return f"layer0.{'bn1' if found['bn'] else 'conv1'}.{found['what']}"
    name = _LAYERS[found["layer"]][bool(found["bn"])]
    return f"layer{int(found['stage']) - 1}.{int(found['block']) - 1}.{name}.{found['what']}"
