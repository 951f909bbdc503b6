"""Whether a state_dict is an architecture's, given the sizes that its shapes show: classes, input channels, reduced widths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from se_deploy.networks.dialects.base import State
from se_deploy.networks.gates import Gate
from se_deploy.networks.skeleton import Shape, Skeleton, skeleton

#: How many keys a message lists before it counts.
_LISTED = 10
_SE = re.compile(r"(^|[._])(se\d*|se_module|se_layer|squeeze|excitation|attn|conv_reduce|conv_expand)([._]|$)|SqueezeExcit", re.IGNORECASE)
#: Left-overs of training that inference does without: auxiliary heads, losses, counters of profilers and averagers.
_TRAINING = re.compile(
    r"^(AuxLogits|aux\d*|aux_(logits|head|classifier|fc)|criterion|loss|loss_fn|n_averaged)(\.|$)|(^|\.)total_(ops|params)$"
)


@dataclass(frozen=True)
class Fit:
    """How a state_dict lies on an architecture built with `kwargs`; `wrong` holds (key, shape there, shape wanted)."""

    arch: str
    kwargs: dict[str, Any]
    missing: tuple[str, ...]
    left: tuple[str, ...]
    wrong: tuple[tuple[str, Shape, Shape], ...]
    #: Keys that inference does without.
    dropped: tuple[str, ...]
    #: Number of the architecture's keys.
    size: int

    @property
    def exact(self) -> bool:
        """Whether every weight has its place and every place its weight."""
        return not (self.missing or self.left or self.wrong)

    @property
    def distance(self) -> int:
        """How many keys are amiss."""
        return len(self.missing) + len(self.left) + len(self.wrong)

    def amiss(self) -> str:
        """What does not fit, in one line, the keys of SE blocks first."""
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing: {_listed(self.missing)}")
        if self.left:
            parts.append(f"{len(self.left)} left over: {_listed(self.left)}")
        if self.wrong:
            sizes = {key: f"{key} is {_size(have)}, wanted {_size(want)}" for key, have, want in self.wrong}
            parts.append(f"{len(self.wrong)} of another size: {_listed(sizes, sizes)}")
        return "; ".join(parts)


def fit(arch: str, kwargs: dict[str, Any], state: State) -> Fit:
    """Lays `state` on `arch`, built with `kwargs` and the class count, input channels and reduced widths that its shapes show."""
    bones = skeleton(arch, kwargs)
    kwargs, wanted = _fleshed(bones, kwargs, state)
    have = {key: tuple(value.shape) for key, value in state.items()}
    unknown = [key for key in have if key not in wanted and not key.endswith("num_batches_tracked")]
    dropped = [key for key in unknown if _TRAINING.search(key)]
    return Fit(
        arch,
        kwargs,
        missing=tuple(key for key in wanted if key not in have and not key.endswith("num_batches_tracked")),
        left=tuple(key for key in unknown if not _TRAINING.search(key)),
        wrong=tuple((k, have[k], want) for k, want in wanted.items() if k in have and not _same(have[k], want)),
        dropped=tuple(dropped),
        size=len(wanted),
    )


def placed(found: Fit, state: State, module_state: Mapping[str, Tensor]) -> State:
    """`state` with exactly the keys and shapes of the module that `found` fits: dropped keys gone, counters that old files lack added."""
    return {key: state[key].reshape(want.shape) if key in state else want for key, want in module_state.items()}


def _fleshed(bones: Skeleton, kwargs: dict[str, Any], state: State) -> tuple[dict[str, Any], dict[str, Shape]]:
    """The arguments and the shapes of the architecture with the sizes that `state` shows."""
    kwargs, wanted = dict(kwargs), dict(bones.shapes)
    head = f"{bones.head}.weight"
    if head in wanted:
        classes = int(state[head].shape[0]) if head in state and state[head].ndim > 1 else wanted[head][0]
        kwargs["num_classes"] = classes
        wanted |= {key: (classes, *wanted[key][1:]) for key in (head, f"{bones.head}.bias") if key in wanted}
    if bones.stem in state and state[bones.stem].ndim == len(wanted[bones.stem]):
        channels = int(state[bones.stem].shape[1])
        if channels != wanted[bones.stem][1]:
            kwargs["in_chans"] = channels
            wanted[bones.stem] = (wanted[bones.stem][0], channels, *wanted[bones.stem][2:])
    widths = [_width(gate, state) for gate in bones.gates]
    if widths != [gate.reduced for gate in bones.gates]:
        kwargs["se_reduced"] = widths
        for gate, width in zip(bones.gates, widths, strict=True):
            wanted |= _narrowed(gate, width, wanted)
    return kwargs, wanted


def _width(gate: Gate, state: State) -> int:
    weight = state.get(f"{gate.name}.{gate.reduce}.weight")
    return gate.reduced if weight is None or weight.ndim < 2 else int(weight.shape[0])


def _narrowed(gate: Gate, width: int, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of an SE block of another reduced width."""
    layers = (gate.reduce,) if gate.norm is None else (gate.reduce, gate.norm)
    keys = [f"{gate.name}.{layer}.{what}" for layer in layers for what in ("weight", "bias", "running_mean", "running_var")]
    expand = f"{gate.name}.{gate.expand}.weight"
    changed = {key: (width, *shapes[key][1:]) for key in keys if key in shapes}
    return changed | {expand: (shapes[expand][0], width, *shapes[expand][2:])}


def _same(have: Shape, want: Shape) -> bool:
    """Whether a tensor can be taken: a dense layer's weight may be written as a 1x1 convolution's, and the reverse."""
    if have == want:
        return True
    longer, shorter = sorted((have, want), key=len, reverse=True)
    return len(shorter) >= 2 and longer == shorter + (1,) * (len(longer) - len(shorter))


def _listed(keys: Iterable[str], words: Mapping[str, str] | None = None) -> str:
    ordered = sorted(keys, key=lambda key: not _SE.search(key))
    shown = ", ".join(words[key] if words else key for key in ordered[:_LISTED])
    return f"{shown} and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else shown


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a single number"
