"""What PyTorch itself answers: the reference that every ONNX file and engine is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from se_deploy.errors import ExportError
from se_deploy.networks.exporting import reason
from se_deploy.networks.quiet import quiet

Outputs = dict[str, NDArray[Any]]


def answer(module: nn.Module, images: NDArray[np.float32]) -> Outputs:
    """One batch through the network in inference mode.

    Args:
        module: in eval mode.
        images: float32 (N, C, H, W).

    Returns:
        Its outputs, flattened: `output`, or `output_0`, `output_1`, … where there are several; each (N, …).

    Raises:
        ExportError: the network refuses the batch, gives no tensor, or one that does not have a row for each image.
    """
    what = "x".join(map(str, images.shape))
    try:
        # A copy of the images: a network may change its input in place.
        with torch.inference_mode(), quiet():
            given = list(_tensors(module(torch.tensor(images))))
    except Exception as error:  # a network's own code fails as it likes
        hint = "name its size with --input NAME=1xCxHxW, or its batch with --batch"
        raise ExportError(f"the network fails on an input of {what}: {reason(error)}", hint) from error
    if not given:
        raise ExportError("the network gives no tensor", "export the part of it that does")
    outputs = dict(zip(names(len(given)), (tensor.detach().contiguous().numpy() for tensor in given), strict=True))
    for name, values in outputs.items():
        if values.ndim == 0 or len(values) != len(images):
            raise ExportError(f"{name} is {values.shape} for an input of {what}", "export a part that answers with a row per image")
    return outputs


def names(count: int) -> tuple[str, ...]:
    """The names of a network's outputs."""
    return ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a network's answer, in order: tuples, lists, dicts (also model-output classes that are dicts), None left out."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _tensors(part)


@dataclass
class _Suspect:
    """The module that first gave a non-finite value for finite ones."""

    name: str | None = None


def check_finite(module: nn.Module, images: NDArray[np.float32], outputs: Outputs) -> None:
    """Refuses answers that are not finite.

    Raises:
        ExportError: names the output and the first module that gives NaN or infinity for finite inputs.
    """
    bad = next((name for name, values in outputs.items() if not np.isfinite(values).all()), None)
    if bad is None:
        return
    suspect = _Suspect()
    watched = [(name, part) for name, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)]
    handles = [part.register_forward_hook(_watch(suspect, name)) for name, part in watched]
    try:
        answer(module, images)
    finally:
        for handle in handles:
            handle.remove()
    kind = "NaN" if np.isnan(outputs[bad]).any() else "infinity"
    where = f", first in {suspect.name}" if suspect.name else ""
    raise ExportError(f"PyTorch's own answer has {kind} in {bad}{where}", "check the weights, and what that part computes")


def _watch(suspect: _Suspect, name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if suspect.name is None and _finite(inputs) and not _finite(output):
            suspect.name = name

    return hook


def _finite(value: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in _tensors(value))
