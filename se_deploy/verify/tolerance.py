"""`--rtol` and `--atol` as Polygraphy writes them: `1e-3` for every output, `OUT:1e-3` for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from se_deploy.errors import ArtifactError

#: What Polygraphy takes for the one that is not given.
DEFAULT = 1e-5


@dataclass(frozen=True)
class Tolerance:
    """An element is within it where its absolute error is at most `atol` or its relative error at most `rtol`, as in Polygraphy."""

    rtol: float
    atol: float

    def beyond(self, errors: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which elements pass both limits."""
        return np.asarray((errors > self.atol) & (errors > self.rtol * np.abs(expected)), np.bool_)


def tolerances(rtol: Sequence[str], atol: Sequence[str], outputs: Sequence[str]) -> dict[str, Tolerance]:
    """The tolerance of every output that has one.

    Args:
        rtol: texts, each `V` or `OUT:V`.
        atol: the same.
        outputs: the network's.

    Raises:
        ArtifactError: a text is not of that form, or names no output.
    """
    relative, absolute = _parsed("--rtol", rtol, outputs), _parsed("--atol", atol, outputs)
    named = [name for name in outputs if {name, ""} & (relative.keys() | absolute.keys())]
    return {name: Tolerance(_of(relative, name), _of(absolute, name)) for name in named}


def _of(values: Mapping[str, float], name: str) -> float:
    return values.get(name, values.get("", DEFAULT))


def _parsed(option: str, texts: Sequence[str], outputs: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition(":")
        try:
            value = float(number)
        except ValueError as error:
            raise ArtifactError(f"{option} {text}: {number!r} is no number", "write 1e-3, or OUT:1e-3 for one output") from error
        if not value >= 0:
            raise ArtifactError(f"{option} {text} is below 0", "write 1e-3, or OUT:1e-3 for one output")
        if name and name not in outputs:
            raise ArtifactError(f"{option} {text}: the network has no output {name}", f"its outputs are {', '.join(outputs)}")
        found[name] = value
    return found
