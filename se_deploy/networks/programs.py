"""TorchScript and torch.export files: programs with their weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from se_deploy.errors import LoadError

_HINT = "export or trace it again with this version of torch, or give its state_dict()"


@dataclass(frozen=True)
class Program:
    """A program as a module; `size` is that of the images (C, H, W) it was exported with, None where it does not say."""

    module: nn.Module
    state: dict[str, Tensor]
    size: tuple[int, ...] | None


def torchscript(path: Path) -> Program:
    """Reads a TorchScript archive, on the CPU, in eval mode.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise LoadError(f"{path} cannot be read as TorchScript: {str(error).strip().splitlines()[0]}", _HINT) from error
    module.eval()
    return Program(module, dict(module.state_dict()), None)


def exported(path: Path) -> Program:
    """Reads a torch.export archive (.pt2). Its module takes no `eval()`: what it does was settled when it was exported.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        program = torch.export.load(path)
    except Exception as error:  # readers of other versions' archives raise whatever they stumble over
        raise LoadError(f"{path} cannot be read as an exported program: {type(error).__name__}: {error}", _HINT) from error
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    size = tuple(int(side) for side in shapes[0][1:]) if len(shapes) == 1 and len(shapes[0]) == 4 else None
    return Program(program.module(), dict(program.state_dict), size)
