"""A block's name: the module that its nodes came from."""

from __future__ import annotations

from collections.abc import Sequence

from se_deploy.graph.names import module_of
from se_deploy.graph.view import Node


class Namer:
    """Gives each block of a graph a name of its own."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._taken = {node.proto.name for node in nodes}

    def of_block(self, nodes: Sequence[Node], mul: Node) -> str:
        """The longest module path that all of a block's nodes share (`layer3.2.se`); the Mul's name where they share none."""
        known = [module.split(".") for node in nodes if (module := module_of(node.proto))]
        shared: list[str] = []
        for parts in zip(*known, strict=False):
            if len(set(parts)) > 1:
                break
            shared.append(parts[0])
        return self._unique(".".join(shared)) if shared else mul.name

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._taken:
            count += 1
            candidate = f"{name}_{count}"
        self._taken.add(candidate)
        return candidate
