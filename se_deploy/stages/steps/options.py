"""What the user of `export` asks for, checked as far as it can be before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from se_deploy.errors import ExportError
from se_deploy.networks.classes import read_labels
from se_deploy.networks.exporting import Exporter
from se_deploy.networks.preprocessing import Wish

_INPUT = re.compile(r"(?P<name>[^=\s]+)=(?P<shape>\d+(?:x\d+){3})")


@dataclass(frozen=True)
class Options:
    """None means that the user did not say. `size` is (C, H, W); `batch` a number, or whether dynamic was asked for by that word."""

    arch: str | None = None
    num_classes: int | None = None
    trust: bool = False
    random: bool = False
    name: str | None = None
    size: tuple[int, int, int] | None = None
    opset: int | None = None
    exporter: Literal["auto"] | Exporter = "auto"
    batch: Literal["dynamic"] | int | None = None
    spatial: Literal["fixed", "dynamic"] | None = None
    labels: tuple[str, ...] | None = None
    wish: Wish = field(default=Wish())


def parse_input(text: str, batch: Literal["dynamic"] | int | None) -> tuple[str, tuple[int, int, int]]:
    """`NAME=1x3x224x224` as a name and (C, H, W).

    Raises:
        ExportError: it is not of that form, a size is 0, or its batch is neither 1 nor that of --batch.
    """
    match = _INPUT.fullmatch(text)
    if match is None:
        raise ExportError(f"--input {text} is not of the form NAME=1x3x224x224", "write a name and four sizes")
    count, channels, height, width = (int(size) for size in match["shape"].split("x"))
    if 0 in (count, channels, height, width):
        raise ExportError(f"--input {text} has a size of 0", "write sizes of 1 and more")
    if count not in (1, batch):
        raise ExportError(f"--input {text} has a batch of {count}", f"write 1x…, and --batch {count} if the batch is to be fixed")
    return match["name"], (channels, height, width)


def labels_in(file: str | Path | None) -> tuple[str, ...] | None:
    """The labels in a file, where one is named."""
    return None if file is None else read_labels(Path(file))
