"""YAML that remembers its lines, so that what is wrong with a value can be said with the line it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from se_deploy.errors import ArtifactError


@dataclass(frozen=True)
class Lined:
    """A YAML file's values, and the node that they were made of."""

    path: Path
    values: Any
    node: yaml.Node

    def line(self, where: Sequence[str | int]) -> int:
        """The line of the deepest part of a way (keys and places) that the file has."""
        node, line = self.node, self.node.start_mark.line
        for part in where:
            found = _child(node, part)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line
        return int(line) + 1


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that says where a child begins, and the child."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def load(path: Path) -> Lined:
    """Reads a YAML file whose top is a mapping.

    Raises:
        ArtifactError: it cannot be read, is not YAML (the line is named), or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}", "name a YAML file in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ArtifactError(f"{path}, line {line}: not YAML: {error.problem}", "correct the line") from error
    except yaml.YAMLError as error:
        raise ArtifactError(f"{path} is not YAML: {' '.join(str(error).split())}", "correct it") from error
    if not isinstance(node, yaml.MappingNode):
        raise ArtifactError(f"{path} is empty or no mapping", "write sections such as `export:`; the README has an example")
    _check_keys(path, node)
    return Lined(path, values, node)


def _check_keys(path: Path, node: yaml.Node) -> None:
    """Refuses a key that is named twice, of which YAML would take the last without a word."""
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(path, value)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ArtifactError(f"{path}, line {key.start_mark.line + 1}: {key.value} is there twice", "leave one of them out")
            seen.add(key.value)
            _check_keys(path, value)
