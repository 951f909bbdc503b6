"""Activations that are Python autograd functions (memory-efficient swish and its like): found, and replaced while an exporter looks.

A function is known by what it computes: where a plain operator of PyTorch gives the same values on a grid of inputs, it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

#: What an elementwise autograd function can turn out to be.
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": F.silu,
    "Hardswish": F.hardswish,
    "Hardsigmoid": F.hardsigmoid,
    "Mish": F.mish,
    "Sigmoid": torch.sigmoid,
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "Tanh": torch.tanh,
    "Softplus": F.softplus,
    "ELU": F.elu,
    "GELU": F.gelu,
    "Identity": torch.clone,
}

#: Of a value's size: what two ways of rounding the same formula differ by in FP32.
TOLERANCE = 2e-6


@dataclass
class Found:
    """The autograd functions that a network called: each with the modules (by qualified name) that did, in order, and extra arguments."""

    modules: dict[type[Function], list[str]] = field(default_factory=dict)
    arguments: dict[type[Function], list[tuple[Any, ...]]] = field(default_factory=dict)

    @cached_property
    def plain(self) -> dict[type[Function], str]:
        """Those that equal a plain operator, with its name; ask when the recording is over."""
        named = {function: _equal(function, calls) for function, calls in self.arguments.items()}
        return {function: name for function, name in named.items() if name is not None}

    def unknown(self) -> tuple[str, ...]:
        """The others, as `Function in module`."""
        plain = self.plain
        return tuple(f"{f.__name__} in {where[0] or 'the network itself'}" for f, where in self.modules.items() if f not in plain)


@contextmanager
def recorded(module: nn.Module) -> Iterator[Found]:
    """Notes the autograd functions that `module` calls inside the block; the module runs as always."""
    found = Found()
    stack: list[str] = [""]
    original = Function.__dict__["apply"]

    def apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
        found.modules.setdefault(cls, []).append(stack[-1])
        found.arguments.setdefault(cls, []).append((*args[1:], *kwargs.values()))
        return original.__get__(None, cls)(*args, **kwargs)

    with ExitStack() as undo:
        for name, part in module.named_modules():
            if not isinstance(part, torch.jit.ScriptModule):  # TorchScript holds no Python function
                undo.callback(part.register_forward_pre_hook(_entering(stack, name)).remove)
                undo.callback(part.register_forward_hook(_leaving(stack)).remove)
        undo.callback(setattr, Function, "apply", original)
        Function.apply = classmethod(apply)
        yield found


def _entering(stack: list[str], name: str) -> Callable[..., None]:
    return lambda *_: stack.append(name)


def _leaving(stack: list[str]) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        stack.pop()

    return leave


@contextmanager
def replaced(found: Found) -> Iterator[tuple[str, ...]]:
    """Inside the block the known functions are plain operators; afterwards they are themselves again.

    Yields:
        Notes: which were replaced by what.
    """
    plain = found.plain
    kept = {function: function.__dict__.get("apply") for function in plain}
    try:
        for function, name in plain.items():
            function.apply = staticmethod(PLAIN[name])
        yield tuple(f"{f.__name__} (in {found.modules[f][0] or 'the network itself'}) is {name}, to rounding" for f, name in plain.items())
    finally:
        for function, own in kept.items():
            if own is None:
                del function.apply
            else:
                function.apply = own


def _equal(function: type[Function], calls: list[tuple[Any, ...]]) -> str | None:
    """The plain operator that gives the same on the grid, whatever else the function was called with; None where none does."""
    extras: list[tuple[Any, ...]] = []
    for extra in calls:
        if any(isinstance(value, Tensor) for value in extra):
            return None  # more than an activation
        if extra not in extras:
            extras.append(extra)
    matches = [{name for name, operator in PLAIN.items() if _same(function, extra, operator)} for extra in extras]
    common = set.intersection(*matches)
    return next((name for name in PLAIN if name in common), None)


def _same(function: type[Function], extra: tuple[Any, ...], operator: Callable[[Tensor], Tensor]) -> bool:
    with torch.no_grad():
        for grid in grids():
            want = operator(grid)
            try:
                got = function.apply(grid.clone(), *extra)
            except Exception:  # not made for such inputs: no activation
                return False
            if not isinstance(got, Tensor) or got.shape != want.shape or got.dtype != want.dtype:
                return False
            if not bool(((got - want).abs() <= TOLERANCE * (1 + want.abs())).all()):
                return False
    return True


def grids() -> tuple[Tensor, ...]:
    """Inputs that tell activations apart: a fine line, the kinks and far ends, and a map whose mean and order say nothing of its values."""
    line = torch.linspace(-12, 12, 4801)
    ends = torch.tensor([0.0, -0.0, 1e-6, -1e-6, 3.0, -3.0, 6.0, -6.0, 20.0, -20.0, 60.0, -60.0, 1e3, -1e3])
    mixed = torch.randn(2, 5, 7, 3, generator=torch.Generator().manual_seed(0)) * 4
    return line, ends, mixed
