"""What the process that builds is told, and what it tells: JSON both ways, so that it can die without taking anything along."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """An input's sizes: whole shapes."""

    name: str
    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class Job:
    """One build. Paths are absolute, but for what the model is `shown` as; `nodes` are the SqueezeExcite nodes' names and op types."""

    module: str
    model: str
    shown: str
    out: str
    layers: str
    plugin: str | None
    nodes: tuple[tuple[str, str], ...]
    inputs: tuple[Input, ...]
    targets: tuple[str, ...]
    version_compatible: bool
    hardware_compatible: bool
    embed_plugin: bool
    refit: bool
    timing_cache: str | None

    def write(self, path: Path) -> None:
        """Writes the job for the process."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Reads a job."""
        values: dict[str, Any] = json.loads(path.read_text())
        for key in ("nodes", "targets"):
            values[key] = tuple(tuple(v) if isinstance(v, list) else v for v in values[key])
        values["inputs"] = tuple(Input(i["name"], *(tuple(i[k]) for k in ("min", "opt", "max"))) for i in values["inputs"])
        return cls(**values)


#: What went wrong, in the order in which a build can: each is a sentence of `parent`'s.
Failure = Literal["library", "creator", "parse", "layers", "refused", "write"]
