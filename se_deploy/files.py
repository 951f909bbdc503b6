"""Writing outputs so that a killed run leaves the old artefact or the new one, never half; and hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from se_deploy.errors import ArtifactError

#: What a disk says when it cannot take what is written; any other OSError is about something else and keeps its own words.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: Path, name: str) -> Path:
    """The file that a manifest in `folder` names, which may come from anywhere: it must lie in `folder`, links followed.

    Raises:
        ArtifactError: it would be outside.
    """
    path = folder / name
    if not name or "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(
            f"a manifest in {folder} names {name!r}, which is not a file in that folder", "do not use it, or build it again"
        )
    return path


def runtime_sources() -> Path:
    """The C++ loader's sources: in the package where it was installed as a wheel, beside it in a checkout.

    Raises:
        ArtifactError: there are none.
    """
    package = Path(__file__).parent
    for folder in (package / "_plugins" / "runtime", package.parent / "plugins" / "runtime"):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise ArtifactError(f"the C++ loader's sources are not in {package}", "install se-deploy again")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`, which takes its place when the block ends well and is removed when it does not.

    Raises:
        ArtifactError: the folder cannot be made or written, or `path` is a folder.
    """
    if path.is_dir():
        raise ArtifactError(f"cannot write {path}: it is a folder", "name a file with -o")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror}", "choose another place with -o") from error
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        os.replace(beside, path)
    except OSError as error:
        _say_full(path, error)
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: Path, manifest: str = "manifest.json") -> Iterator[Path]:
    """Yields an empty directory on the same disk; its files move into `path` when the block ends well.

    Files already in `path` that the block does not write again stay. The manifest goes first and comes last, so that what it
    describes is whole wherever it is there.

    Raises:
        ArtifactError: the folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path if path.exists() else path.parent))
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror}", "choose another place with -o") from error
    try:
        yield beside
        path.mkdir(exist_ok=True)
        (path / manifest).unlink(missing_ok=True)
        for file in sorted(beside.iterdir(), key=lambda f: f.name == manifest):
            file.chmod(0o644)  # some writers leave a file to its owner alone
            os.replace(file, path / file.name)
    except OSError as error:
        _say_full(path, error)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _say_full(path: Path, error: OSError) -> None:
    if error.errno in _DISK:
        raise ArtifactError(f"cannot write {path}: {error.strerror}", "free some space or choose another place with -o") from error


def copy_file(source: Path, target: Path) -> None:
    """Copies a file's bytes.

    Raises:
        ArtifactError: it is missing or cannot be read.
    """
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ArtifactError(f"cannot copy {source}: {error.strerror}", "export the model again") from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()
