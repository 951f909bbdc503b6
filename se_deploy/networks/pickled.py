"""Pickles of Python objects from a file that the user trusts, whose classes may have moved or gone since."""

from __future__ import annotations

import pickle
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from se_deploy.errors import LoadError


class Absent(dict[Any, Any]):
    """Stands for an instance of a class that is not here, so that the tensors it holds can still be reached."""

    #: "module.Class" as pickled.
    pickled_as = ""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Absent:  # noqa: D102
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __hash__(self) -> int:  # type: ignore[override]  # enumerations are used as keys
        return id(self)


def trusted(path: Path) -> Any:
    """Unpickles a whole object, on the CPU; runs what code the file asks for. Classes that cannot be imported become `Absent`.

    Raises:
        LoadError: it cannot be unpickled.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.serialization.SourceChangeWarning)
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_tolerant())
    except Exception as error:  # the file's own code, or a library that has changed under it, may raise anything
        raise LoadError(
            f"{path} cannot be unpickled here: {type(error).__name__}: {error}", "save its state_dict() where it was made, and give that"
        ) from error


def is_module(value: Any) -> bool:
    """Whether `value` is a module, or stands for one whose class is absent."""
    return isinstance(value, (nn.Module, Absent)) and {"_parameters", "_modules"} <= vars(value).keys()


def state_of(module: Any, prefix: str = "") -> dict[str, Tensor]:
    """The state_dict of a module, read from its attributes: works for modules of older libraries, and of absent classes."""
    held = vars(module)
    hidden = held.get("_non_persistent_buffers_set", ())
    own = {**held["_parameters"], **{name: value for name, value in held.get("_buffers", {}).items() if name not in hidden}}
    state = {prefix + name: value.detach() for name, value in own.items() if isinstance(value, Tensor)}
    for name, child in held["_modules"].items():
        if is_module(child):
            state |= state_of(child, f"{prefix}{name}.")
    return state


def absent_in(module: Any) -> Iterator[str]:
    """Names of the absent classes in a module, itself included: where there are any, it cannot run."""
    if isinstance(module, Absent):
        yield module.pickled_as
    for value in vars(module).values():
        if isinstance(value, Absent) and not is_module(value):
            yield value.pickled_as
    for child in vars(module).get("_modules", {}).values():
        if is_module(child):
            yield from absent_in(child)


def _tolerant() -> types.ModuleType:
    """A pickle module for torch.load in which a missing class is no error."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                return type(name, (Absent,), {"pickled_as": f"{module}.{name}"})

    tolerant = types.ModuleType("tolerant_pickle")
    tolerant.Unpickler = Unpickler  # type: ignore[attr-defined]
    tolerant.load = lambda file, **options: Unpickler(file, **options).load()  # type: ignore[attr-defined]
    return tolerant
