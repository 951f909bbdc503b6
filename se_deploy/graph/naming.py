"""A block's name: the module that its nodes came from."""

from __future__ import annotations

from collections.abc import Sequence

from se_deploy.graph.view import Node


class Namer:
    """Gives each block of a graph a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of_block(self, nodes: Sequence[Node], mul: Node) -> str:
        """The longest module path that all of a block's nodes share (`layer3.2.se`); the Mul's name where they share none."""
        paths = [_module(node) for node in nodes]
        known = [p for p in paths if p]
        shared: list[str] = []
        for parts in zip(*known, strict=False):
            if len(set(parts)) > 1:
                break
            shared.append(parts[0])
        return self.unique(".".join(shared) or mul.name)

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        candidate, count = name, 1
        while candidate in self._taken:
            count += 1
            candidate = f"{name}_{count}"
        self._taken.add(candidate)
        return candidate


def _module(node: Node) -> list[str]:
    """The module path in a node's name, `layer3.2.se.fc1/Conv`; empty where the name holds none."""
    module, slash, _ = node.proto.name.rpartition("/")
    return module.split(".") if slash else []
