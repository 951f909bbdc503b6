"""From whatever a training script saved to the bare weights: out of dicts and modules, EMA before raw, prefixes off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from se_deploy.errors import LoadError
from se_deploy.networks.dialects.base import State
from se_deploy.networks.pickled import is_module, state_of

_EMA = re.compile(r"(^|_)(ema|swa|averaged|shadow)(_|$)", re.IGNORECASE)
#: Where raw weights lie, the likeliest first.
_RAW = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights", "backbone", "encoder")
#: What else a training script saves, and may hold tensors.
_OTHER = re.compile(r"optim|sched|scaler|callbacks|loops|criterion|loss|grad|rng|history|metric|collected", re.IGNORECASE)
#: Prefixes that wrappers give; others are taken off only where every key has them.
_PREFIXES = frozenset(
    {"module", "_orig_mod", "model", "backbone", "encoder", "net", "network", "base", "base_model", "trunk", "cnn", "student"}
    | {"feature_extractor", "ema", "ema_model", "model_ema", "module_ema", "averaged_model", "online_model"}
)
#: Marks that torch's wrappers put between the names of modules.
_INFIXES = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
#: The share of the keys that counts as the great majority.
_MOST = 0.8
_EMA_PREFIX = re.compile(r"^(ema_model|model_ema|module_ema|averaged_model|ema)\.")
_GIVE = "name a file with a state_dict"


@dataclass
class Unwrapped:
    """Bare weights, the whole module they were in (or None), the plain fields that lay beside them, and remarks."""

    state: State
    module: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def unwrap(name: str, value: Any) -> Unwrapped:
    """Finds the weights in what a file holds. EMA weights are preferred; what averages of parameters lack comes from the raw ones.

    Raises:
        LoadError: there are none, or several sets that nothing tells apart.
    """
    fields: dict[str, Any] = {}
    path: list[str] = []
    raw: Any = None
    while not is_module(value) and not _is_state(value):
        if not isinstance(value, Mapping):
            raise LoadError(f"{name} holds no weights but a {type(value).__name__}", _GIVE)
        fields = {key: item for key, item in value.items() if isinstance(key, str) and not _weights(item)} | fields
        inner = _inner(name, value)
        if _EMA.search(inner):
            raw = next((value[key] for key in _RAW if key in value and _weights(value[key])), raw)
        path.append(inner)
        value = value[inner]
    state, beside = _averaged(_tensors(value))
    state, prefix = stripped(state)
    found = Unwrapped(state, value if is_module(value) else None, fields)
    if beside or path:
        averaged = beside or any(_EMA.search(step) for step in path)
        where = f" ({'.'.join(path)})" if path else ""
        found.notes.append(f"EMA weights taken{where}" if averaged else f"raw weights taken{where}; the file has no EMA weights")
    if prefix:
        found.notes.append(f"prefix {prefix} taken off the keys")
    if raw is not None:
        _fill(found, unwrap(name, raw).state)
    return found


def stripped(state: State) -> tuple[State, str]:
    """`state` without prefixes that all keys share, or that the great majority has and wrappers give; and what was taken off."""
    taken = ""
    while state:
        first, count = Counter(key.partition(".")[0] for key in state).most_common(1)[0]
        if count < len(state) and (first not in _PREFIXES or count < _MOST * len(state)):
            break
        bare = {key.removeprefix(f"{first}."): value for key, value in state.items()}
        if len(bare) < len(state) or first in bare or bare.keys() == state.keys():
            break
        state, taken = bare, f"{taken}{first}."
    return state, taken


def _is_state(value: Any) -> bool:
    """Whether `value` is a state_dict: tensors, or NumPy's arrays, under dotted names."""
    return isinstance(value, Mapping) and any(
        isinstance(item, Tensor | np.ndarray) and isinstance(key, str) and "." in key for key, item in value.items()
    )


def _weights(value: Any) -> bool:
    """Whether weights lie in `value`, at any depth."""
    return is_module(value) or _is_state(value) or (isinstance(value, Mapping) and any(_weights(item) for item in value.values()))


def _inner(name: str, value: Mapping[Any, Any]) -> str:
    """The key under which the weights lie: EMA's, else raw ones' by the usual names, else the only one."""
    holding = [key for key, item in value.items() if isinstance(key, str) and _weights(item)]
    rest = [key for key in holding if not _OTHER.search(key)]
    for chosen in ([key for key in rest if _EMA.search(key)], [key for key in _RAW if key in rest], rest):
        if len(chosen) == 1 or (chosen and chosen is not rest):
            return chosen[0]
    if not rest:
        raise LoadError(f"{name} holds no weights", _GIVE)
    raise LoadError(f"{name} holds several sets of weights: {', '.join(rest[:5])}", "save the one that is meant by itself")


def _tensors(value: Any) -> State:
    """The tensors of a state_dict or a module; NumPy's arrays become tensors."""
    if is_module(value):
        return state_of(value)
    arrays = {key: torch.from_numpy(item) if isinstance(item, np.ndarray) else item for key, item in value.items()}
    return {_INFIXES.sub("", key): item.detach() for key, item in arrays.items() if isinstance(item, Tensor) and isinstance(key, str)}


def _averaged(state: State) -> tuple[State, bool]:
    """EMA weights that lie beside the raw ones in one state_dict, told by a prefix and taken where the rest has the same names."""
    ema = {key: value for key, value in state.items() if _EMA_PREFIX.match(key)}
    names, raw = stripped(ema)[0], stripped({key: value for key, value in state.items() if key not in ema})[0]
    if 2 * len(names.keys() & raw.keys()) <= len(names):
        return state, False
    return raw | names, True


def _fill(found: Unwrapped, raw: State) -> None:
    """Averages of parameters alone lack the BatchNorm statistics."""
    lacking = raw.keys() - found.state.keys()
    if lacking and found.state.keys() <= raw.keys():
        found.state = raw | found.state
        found.notes.append(f"the EMA weights lack {len(lacking)} tensors, taken from the raw ones")
