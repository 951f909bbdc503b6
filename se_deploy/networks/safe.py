"""Reading files: tensors and plain data without running anything; whole Python objects only for those who trust the file."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import re
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from se_deploy.errors import LoadError
from se_deploy.networks.pickled import trusted

Kind = Literal["safetensors", "torchscript", "pt2", "pickle"]

#: How many class names a message lists.
_LISTED = 3
#: The longest header, in bytes, that the safetensors format allows.
_MAX_HEADER = 100_000_000
#: Instructions that pickle's protocols 3 to 5 brought, which the safe reader does not know.
_NEWER = frozenset({*b"BC", *range(140, 152)})
_SPOILT = "fetch or save it again"


def kind_of(path: Path) -> Kind:
    """What a file holds, by its content.

    Raises:
        LoadError: it is missing, a folder, empty, or no checkpoint.
    """
    start = _start(path)
    if start.startswith(b"version https://git-lfs"):
        raise LoadError(f"{path} is a Git LFS pointer, not the weights", "run `git lfs pull`")
    if start[:4] == b"PK\x03\x04":
        return _kind_of_zip(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    if start[:1] == b"\x80":
        return "pickle"
    raise LoadError(f"{path} is no checkpoint (it starts with {start[:8]!r})", "name a file that torch.save or safetensors wrote")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, and the file's own metadata.

    Raises:
        LoadError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118  # it is no dict
    except SafetensorError as error:
        raise LoadError(f"{path} is damaged: {error}", _SPOILT) from error


def read_pickle(path: Path, trust: bool) -> Any:
    """What torch.save wrote, on the CPU. Tensors, containers, numbers, NumPy's too, argparse namespaces and paths need no trust.

    Raises:
        LoadError: the file is damaged, or holds more and is not trusted.
    """
    try:
        # Given a name, torch.load would go by its ending.
        with path.open("rb") as file, warnings.catch_warnings(), safe_globals(_harmless()):
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wants = _wants(path, error)
        if trust:
            return trusted(path)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} is damaged: {_first_line(error)}", _SPOILT) from error
    raise LoadError(
        f"{path} holds more than weights: it needs {wants}, and reading that runs code from the file",
        "add --trust if you know where it comes from, or save its state_dict()",
    )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}", "name a checkpoint file") from error
    if not start:
        raise LoadError(f"{path} is empty", _SPOILT)
    return start


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as file:
            inside = [name.partition("/")[2] for name in file.namelist()]
            whole = file.namelist()
    except zipfile.BadZipFile as error:
        raise LoadError(f"{path} is damaged: it ends early", _SPOILT) from error
    if any(name.startswith("code/") for name in inside):
        return "torchscript"
    if "archive_format" in inside or "serialized_exported_program.json" in whole:
        return "pt2"
    if "data.pkl" in inside:
        return "pickle"
    raise LoadError(f"{path} is a zip archive without weights", "unpack it, and name the checkpoint in it")


def _wants(path: Path, error: pickle.UnpicklingError) -> str:
    """The classes for which the safe reader refused."""
    text = str(error)
    try:
        with safe_globals(_harmless()):
            names = sorted(get_unsafe_globals_in_checkpoint(path), key=lambda name: (name.startswith("torch."), name))
    except (ValueError, pickle.UnpicklingError):  # an old-style file, or pickle's newer instructions
        names = re.findall(r"GLOBAL (\S+)", text)[:1]
    if not names:
        operand = re.search(r"Unsupported operand (\d+)", text)
        if operand is not None and int(operand[1]) in _NEWER:
            return "instructions of newer pickle protocols"
        raise LoadError(f"{path} is damaged: {_first_line(error)}", _SPOILT) from error
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "it ends early"


def _harmless() -> list[Any]:
    """Classes that training scripts leave in checkpoints and whose construction does nothing but hold data."""
    numpy: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdFD")]
    for home in ("numpy.core", "numpy._core"):  # before NumPy 2 and since
        numpy += [(getattr(multiarray, name), f"{home}.multiarray.{name}") for name in ("scalar", "_reconstruct")]
    paths: list[Any] = []
    for home in ("pathlib", "pathlib._local"):
        paths += [(pathlib.PurePosixPath, f"{home}.{name}") for name in ("PosixPath", "PurePosixPath")]
        paths += [(pathlib.PureWindowsPath, f"{home}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    plain = [argparse.Namespace, types.SimpleNamespace, collections.defaultdict, datetime.datetime, datetime.timedelta, datetime.date]
    return [*numpy, *paths, *plain]
