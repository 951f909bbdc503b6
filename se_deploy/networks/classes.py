"""`--labels FILE`: the names of a network's classes."""

from __future__ import annotations

import json
from pathlib import Path

from se_deploy.errors import ExportError


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in a file: one a line (empty lines at the end aside), or a JSON list.

    Raises:
        ExportError: the file cannot be read, or holds neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read the labels in {path}: {error}", "name a UTF-8 text or JSON file") from error
    if text.lstrip().startswith("["):
        return _from_json(text, path)
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not all(lines):
        raise ExportError(f"line {lines.index('') + 1} of {path} is empty", "write one class a line")
    return tuple(lines)


def _from_json(text: str, path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError as error:
        raise ExportError(f"{path} is not JSON: {error}", "write a list of names, or one name a line") from error
    if not all(isinstance(name, str) and name for name in names):
        raise ExportError(f"{path} holds something else than names", "write a list of names, or one name a line")
    return tuple(names)


def check_labels(labels: tuple[str, ...], classes: int | None, where: str) -> None:
    """Refuses labels that are not as many as the classes.

    Args:
        labels: the names.
        classes: columns of the network's first output; None where it is not class scores.
        where: what holds the labels, for the message.

    Raises:
        ExportError: the counts differ.
    """
    if classes is None:
        raise ExportError(f"{where} has {len(labels)} labels, and the network's first output is no class scores", "leave --labels out")
    if len(labels) != classes:
        raise ExportError(f"{where} has {len(labels)} labels, the network has {classes} classes", "give one label for each class, in order")
