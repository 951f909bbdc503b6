"""A recognised state_dict -> a fresh module with its weights, in FP32."""

from __future__ import annotations

import torch
from torch import Tensor

from se_deploy.errors import LoadError
from se_deploy.networks.build import build
from se_deploy.networks.configs import Config, config, wanted
from se_deploy.networks.fit import Fit, placed
from se_deploy.networks.metadata import Said
from se_deploy.networks.network import Network
from se_deploy.networks.recognise import Recognised
from se_deploy.networks.skeleton import skeleton


def rebuilt(name: str, fit: Fit, known: Recognised, says: Said, notes: tuple[str, ...]) -> Network:
    """The network that `fit` names, with the weights of `known`.

    Raises:
        LoadError: a weight is not finite, or not a plain floating-point tensor.
    """
    module = build(fit.arch, **fit.kwargs)
    state = placed(fit, known.state, module.state_dict())
    single, halves = in_single_precision(name, state)
    module.load_state_dict(single)
    base = config(fit.arch)
    if known.preprocess is not None:
        base = Config(base.size, base.share, known.preprocess)
    size, how = wanted(base, says, skeleton(fit.arch, fit.kwargs).channels)
    labels, remarks = fitting_labels(says, fit.kwargs.get("num_classes"))
    left = (f"left out: {', '.join(fit.dropped[:3])}{' …' if len(fit.dropped) > 3 else ''}",) if fit.dropped else ()
    return Network(module, fit.arch, fit.kwargs, size, how, labels, notes + known.notes + left + halves + remarks)


def in_single_precision(name: str, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`state` with its floating-point tensors in FP32, and a remark where any was not.

    Raises:
        LoadError: a tensor is quantized, or holds infinities or NaN.
    """
    other: set[str] = set()
    single = {}
    for key, value in state.items():
        if value.is_quantized:
            raise LoadError(f"{name}: {key} is quantized", "give the weights from before quantization")
        if value.is_floating_point() and value.dtype != torch.float32:
            other.add(str(value.dtype).removeprefix("torch."))
            value = value.float()
        if value.is_floating_point() and not value.isfinite().all():
            raise LoadError(f"{name}: {key} holds values that are not finite", "give a checkpoint from before training diverged")
        single[key] = value
    return single, (f"{' and '.join(sorted(other))} weights converted to FP32",) if other else ()


def fitting_labels(says: Said, classes: int | None) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The checkpoint's class names, or a remark where their number is not that of the classes."""
    if says.labels is None or classes in (None, len(says.labels)):
        return says.labels, ()
    return None, (f"the checkpoint's {len(says.labels)} class names are left out: the network has {classes} classes",)
