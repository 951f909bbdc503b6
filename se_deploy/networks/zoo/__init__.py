"""SE networks that timm lacks, the paper's and one for 32x32 images, one a file, with and without SE blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from se_deploy.networks.zoo import bn_inception, densenet, inception_resnet_v2, resnet_cifar

__all__ = ["BUILDERS", "INPUT_SIZES", "recognise"]

#: name -> builder(num_classes, in_chans=3, reduction=16, ...); reduction=None leaves the SE blocks out.
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "se_bn_inception": bn_inception.BNInception,
    "se_inception_resnet_v2": inception_resnet_v2.se_inception_resnet_v2,
    **densenet.BUILDERS,
    "se_resnet_cifar": resnet_cifar.ResNetCifar,
}

#: name -> height and width of the square input that the network was made for.
INPUT_SIZES: dict[str, int] = dict.fromkeys(BUILDERS, 224) | {"se_inception_resnet_v2": 299, "se_resnet_cifar": 32}


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """The name and the builder's arguments of the network that a bare state_dict is of, or None."""
    for of_network in (bn_inception.recognise, inception_resnet_v2.recognise, densenet.recognise, resnet_cifar.recognise):
        found = of_network(state)
        if found is not None:
            return found
    return None
