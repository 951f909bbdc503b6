"""What a foreign key spelling is translated to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from se_deploy.artifacts import Preprocess

State = dict[str, Tensor]


@dataclass(frozen=True)
class Translation:
    """A foreign state_dict in the spelling of a network that can be built.

    `build(arch, **kwargs)` makes a network that takes `state` with strict=True; keys unknown to the dialect stay in it as they
    were. `preprocess` is None where the spelling says nothing about the images; `note` says in words what was recognised.
    """

    arch: str
    kwargs: dict[str, Any]
    state: State
    preprocess: Preprocess | None
    note: str
