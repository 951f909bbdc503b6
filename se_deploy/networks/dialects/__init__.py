"""Foreign key spellings, one a file: each translates a state_dict to one that a network known here takes."""

from __future__ import annotations

from collections.abc import Callable

from se_deploy.networks.dialects import caffe, cydonia, efficientnet_pytorch, moskomule
from se_deploy.networks.dialects.base import State, Translation

__all__ = ["DIALECTS", "State", "Translation", "translate"]

#: Each returns None where the keys are not its own.
DIALECTS: tuple[Callable[[State], Translation | None], ...] = (
    efficientnet_pytorch.translate,
    moskomule.translate,
    caffe.translate,
    cydonia.translate,
)


def translate(state: State) -> Translation | None:
    """The state_dict in a spelling that can be built, or None where no dialect knows its keys.

    `state` is bare: no wrapping dict and no prefix such as `module.`.

    Raises:
        LoadError: the spelling is known, but the network's sizes are none that can be built.
    """
    for dialect in DIALECTS:
        found = dialect(state)
        if found is not None:
            return found
    return None
