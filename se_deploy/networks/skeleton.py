"""What an architecture's state_dict looks like, without its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from se_deploy.networks.build import build
from se_deploy.networks.gates import Gate, gates

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Skeleton:
    """Keys and shapes of a state_dict, and the places whose sizes the network leaves open.

    `stem` is the key of the first convolution's weight, `head` the name of the last linear layer, "" where there is none.
    """

    shapes: dict[str, Shape]
    stem: str
    head: str
    gates: tuple[Gate, ...]

    @property
    def classes(self) -> int:
        """How many classes the last linear layer gives; 0 where there is none."""
        return self.shapes[f"{self.head}.weight"][0] if self.head else 0

    @property
    def channels(self) -> int:
        """How many channels the first convolution takes."""
        return self.shapes[self.stem][1] if self.stem else 3


def skeleton(arch: str, kwargs: dict[str, Any]) -> Skeleton:
    """The skeleton of `build(arch, **kwargs)`; tens of milliseconds, and remembered."""
    return _skeleton(arch, json.dumps(kwargs, sort_keys=True))


@lru_cache(maxsize=1024)
def _skeleton(arch: str, kwargs: str) -> Skeleton:
    with _Weightless():
        module = build(arch, **json.loads(kwargs))
    layers = list(module.named_modules())
    stem = next((f"{name}.weight" for name, layer in layers if isinstance(layer, nn.Conv2d)), "")
    head = next((name for name, layer in reversed(layers) if isinstance(layer, nn.Linear)), "")
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    return Skeleton(shapes, stem, head, tuple(gates(module)))


class _Weightless(TorchFunctionMode):
    """Makes parameters on the meta device and leaves them as they are.

    `torch.device("meta")` would do the same to the numbers from which some constructors compute their widths, and would spend
    two thirds of the time on initialising nothing.
    """

    _MADE = frozenset({torch.empty, torch.zeros, torch.ones})
    _FILLED = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_})

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._MADE:
            kwargs["device"] = "meta"
        elif func in self._FILLED or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
