"""lukemelas' `EfficientNet-PyTorch`, B0 to B8: TensorFlow's networks, so timm's `tf_efficientnet_*` (SAME padding, BatchNorm epsilon 1e-3).

There the padding is fixed by the image size that the network was made for; timm's follows the image, and is equal at that size.
"""

from __future__ import annotations

import math
import re
from itertools import count

from se_deploy.errors import LoadError
from se_deploy.networks.dialects.base import State, Translation

#: Factors of width and depth of B0 to B8, and the blocks in each stage of B0 (Tan and Le, 2019).
_FACTORS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1), (2.2, 3.6))
_REPEATS = (1, 2, 2, 3, 3, 4, 1)

_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
#: Layers of a block whose input is used as it is, and of one that expands it first.
_PLAIN = _SE | {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING = _SE | {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip

_KEY = re.compile(r"(?:_blocks\.(?P<block>\d+)\.)?(?P<layer>_\w+)\.(?P<what>\w+)")


def translate(state: State) -> Translation | None:
    """Reads the size from the number of blocks and the width of the head; `_fc` may be missing (features only).

    Raises:
        LoadError: the keys are EfficientNet-PyTorch's, the sizes not those of B0 to B8.
    """
    stem, head = state.get("_conv_stem.weight"), state.get("_conv_head.weight")
    if stem is None or head is None:
        return None
    blocks = {int(found["block"]) for key in state if (found := _KEY.fullmatch(key)) and found["block"]}
    size, repeats = _size(len(blocks), head.shape[0])
    places = dict(zip(count(), (f"blocks.{s}.{i}" for s, n in enumerate(repeats) for i in range(n)), strict=False))
    fc = state.get("_fc.weight")
    arch = f"timm:tf_efficientnet_b{size}"
    return Translation(
        arch,
        {"num_classes": 0 if fc is None else fc.shape[0], "in_chans": stem.shape[1]},
        {_renamed(key, state, places): value for key, value in state.items()},
        None,
        f"the keys are EfficientNet-PyTorch's (B{size}), read as {arch}'s",
    )


def _size(blocks: int, head: int) -> tuple[int, list[int]]:
    """The number behind the B, and the blocks in each stage."""
    for size, (width, depth) in enumerate(_FACTORS):
        repeats = [math.ceil(depth * repeat) for repeat in _REPEATS]
        if sum(repeats) == blocks and round(1280 * width) == head:
            return size, repeats
    raise LoadError(
        f"an EfficientNet-PyTorch network of {blocks} blocks and a head of {head} channels is none of B0 to B8",
        "give the whole module with --trust",
    )


def _renamed(key: str, state: State, places: dict[int, str]) -> str:
    found = _KEY.fullmatch(key)
    if found is None:
        return key
    block, layer, what = found["block"], found["layer"], found["what"]
    if block is None:
        return f"{_ENDS[layer]}.{what}" if layer in _ENDS else key
    names = _EXPANDING if f"_blocks.{block}._expand_conv.weight" in state else _PLAIN
    return f"{places[int(block)]}.{names[layer]}.{what}" if layer in names else key
