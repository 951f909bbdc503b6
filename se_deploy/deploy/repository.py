"""Writing models into a Triton repository: each whole or not at all, beside what other versions and other models are there."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from se_deploy.errors import PackageError

#: What Triton takes as a model's folder, and every shell and URL without quoting.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_EXCHANGE, _AT_FDCWD = 2, -100


@dataclass(frozen=True)
class Model:
    """A model's folder in a repository: relative path -> a file to copy, or contents."""

    name: str
    files: Mapping[str, Path | bytes | str]


def check_name(name: str) -> None:
    """Refuses what cannot be a model's name.

    Raises:
        PackageError: says which characters may be in it.
    """
    if not NAME.fullmatch(name) or len(name) > 200:
        raise PackageError(f"{name!r} cannot be a model's name", "name it with --name: letters, digits, '.', '-' and '_'")


def versions(root: Path, name: str) -> dict[int, Path]:
    """The versions of a model that a repository holds."""
    folder = root / name
    return {int(path.name): path for path in folder.glob("[0-9]*") if path.name.isdecimal()} if folder.is_dir() else {}


def check_free(root: Path, names: Sequence[str], version: int, force: bool) -> None:
    """Refuses, before any work, to overwrite a version, and to write into what is no repository.

    Raises:
        PackageError: names what is there.
    """
    if root.exists() and not root.is_dir():
        raise PackageError(f"{root} is a file", "name a folder for the repository")
    if (root / "config.pbtxt").exists():
        raise PackageError(f"{root} is a model, not a repository of models", f"name the folder above it, {root.parent}")
    for name in names:
        check_name(name)
        if (root / name).exists() and not (root / name / "config.pbtxt").is_file():
            raise PackageError(f"{root / name} is there and is no Triton model", "name another model with --name")
        if version in versions(root, name) and not force:
            raise PackageError(f"{root / name} has a version {version}", "add --force to replace it, or write another with --version")


def check_config(root: Path, models: Sequence[Model], force: bool) -> None:
    """Refuses to change the configuration of a model's other versions, which may have been tuned by hand.

    Raises:
        PackageError: there is one, and it is another than is written for this engine.
    """
    for model in models:
        there = root / model.name / "config.pbtxt"
        if not force and there.is_file() and there.read_text() != model.files["config.pbtxt"]:
            raise PackageError(
                f"{there} is not what this engine's would be, and all versions share it",
                "add --force to replace it, or name another --name",
            )


def write(root: Path, models: Sequence[Model], version: int) -> None:
    """Writes the models, each with `version` new and its other versions kept; if one fails, those before it are undone.

    A folder that is there changes places with the new one in one step, so that a server or a killed run sees the old or the new.

    Raises:
        PackageError: the repository cannot be written.
    """
    undo: list[tuple[Path, Path | None]] = []
    try:
        with _beside(root) as scratch:
            staged = {model.name: _stage(model, scratch, root / model.name, version) for model in models}
            try:
                for name, folder in staged.items():
                    undo.append(_swap(folder, root / name))
            except BaseException:
                for target, old in reversed(undo):
                    _restore(target, old)
                raise
    except OSError as error:
        raise PackageError(f"cannot write {root}: {error.strerror or error}", "free some space or name another folder") from error


@contextmanager
def _beside(root: Path) -> Iterator[Path]:
    """A scratch folder on the repository's disk, outside it where that is one disk, so that a polling server does not see it."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    outside = root.resolve().parent
    same = os.access(outside, os.W_OK) and outside.stat().st_dev == root.stat().st_dev
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.resolve().name}.", dir=outside if same else root))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()


def _stage(model: Model, scratch: Path, there: Path, version: int) -> Path:
    folder = scratch / model.name
    folder.mkdir(parents=True)
    for number, other in versions(there.parent, model.name).items():
        if number != version:
            shutil.copytree(other, folder / other.name, symlinks=True, copy_function=_link)
    for name, content in model.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def _link(source: str, target: str) -> None:
    """Another version's file, kept without a copy where the disk can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _swap(new: Path, target: Path) -> tuple[Path, Path | None]:
    """Puts `new` in `target`'s place; what was there is at `new` afterwards."""
    if not target.exists():
        os.rename(new, target)
        return target, None
    if not _exchanged(new, target):
        aside = new.with_name(f"{new.name}.old")
        os.rename(target, aside)
        os.rename(new, target)
        os.rename(aside, new)
    return target, new


def _restore(target: Path, old: Path | None) -> None:
    if old is None:
        shutil.rmtree(target, ignore_errors=True)
    else:
        _swap(old, target)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether Linux's renameat2 let two folders change places in one step; another system or file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    return rename is not None and rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0
