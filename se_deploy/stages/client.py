"""`client`: asks a model on a running Triton about the images of a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from se_deploy.artifacts import Progress, Record, silent
from se_deploy.deploy.server import Guess, Model, Refused, Server
from se_deploy.errors import ServeError
from se_deploy.images import MAX_ENCODED, Images, check_channels, find_images

Row = bytes | NDArray[np.float32]


class Answer(Record):
    """An image, by its name relative to the folder, and its best classes."""

    file: str
    classes: tuple[Guess, ...]


class ClientReport(Record):
    """What `client` returns."""

    url: str
    model: str
    answers: tuple[Answer, ...]
    #: Images that could not be read or that the server refused, with the reason.
    skipped: dict[str, str]
    seconds: float
    #: Remarks a user should read; printed on stderr, not part of the JSON.
    notes: tuple[str, ...] = Field(default=(), exclude=True)


def client(
    url: str,
    model: str,
    images: str | Path,
    *,
    top: int = 1,
    batch: int | None = None,
    timeout: float = 60.0,
    progress: Progress = silent,
) -> ClientReport:
    """Sends real images and returns the classes that the server finds best.

    A network gets images prepared here as its configuration says; an ensemble of `package --ensemble` gets the files' bytes.

    Args:
        url: `http://HOST:PORT`, `https://…`, `grpc://HOST:PORT`, or `HOST:PORT` for HTTP.
        model: the model's name on the server.
        images: a folder of images, or one image.
        top: classes for each image.
        batch: images in each request; default as many as the model takes, at most 8.
        timeout: seconds to wait for each answer.
        progress: called after each request.

    Raises:
        ServeError: the server or the model is not there, it takes no images, or it refused every one.
        ImageError: there is no image, or its colours are not the network's.
    """
    started = time.perf_counter()
    found = _images(Path(images))
    answers: list[Answer] = []
    with closing(Server(url, timeout)) as server:
        asked = server.model(model)
        for rows in _chunks(found, asked, _size(asked, batch)):
            answers += _ask(server, asked, rows, top, found)
            progress(f"ask {model}", len(answers) + len(found.skipped), len(found.paths))
    if not answers:
        name, reason = next(iter(found.skipped.items()))
        raise ServeError(f"no image of {images} was answered; {name}: {reason}", "send images that the model can read")
    notes = tuple(f"skipped {name}: {reason}" for name, reason in found.skipped.items())
    seconds = time.perf_counter() - started
    return ClientReport(url=url, model=model, answers=tuple(answers), skipped=found.skipped, seconds=seconds, notes=notes)


def _images(path: Path) -> Images:
    return Images(path.parent, [path], None) if path.is_file() else find_images(path)


def _size(model: Model, asked: int | None) -> int:
    largest = max(1, model.max_batch)
    if asked is not None and asked > largest:
        raise ServeError(f"model {model.name} takes at most {largest} image(s) at once", f"take --batch {largest} or less")
    return asked or min(8, largest)


def _chunks(found: Images, model: Model, size: int) -> Iterator[dict[str, Row]]:
    """Rows by file name, `size` at a time, those of one request of one shape."""
    chunk: dict[str, Row] = {}
    for name, row in _rows(found, model):
        other = any(np.shape(row) != np.shape(there) for there in chunk.values()) and model.preprocess is not None
        if len(chunk) == size or other:
            yield chunk
            chunk = {}
        chunk[name] = row
    if chunk:
        yield chunk


def _rows(found: Images, model: Model) -> Iterator[tuple[str, Row]]:
    if model.preprocess is None:
        yield from _encoded(found)
        return
    if model.dims[0] > 0:
        check_channels(model.preprocess, model.dims[0])
    yield from ((str(path.relative_to(found.root)), row) for path, row in found.read(model.preprocess))


def _encoded(found: Images) -> Iterator[tuple[str, Row]]:
    """The files as they are; one that is too large for a request is passed over."""
    for path in found.paths:
        name = str(path.relative_to(found.root))
        if path.stat().st_size > MAX_ENCODED:
            found.skipped[name] = f"it has more than {MAX_ENCODED >> 20} MB"
        else:
            yield name, path.read_bytes()


def _ask(server: Server, model: Model, rows: dict[str, Row], top: int, found: Images) -> list[Answer]:
    """The answers to a request; where it is refused, to its images one by one, so that a bad one does not take the others along."""
    try:
        made = server.classes(model, list(rows.values()), top)  # type: ignore[arg-type]
        return [Answer(file=name, classes=tuple(guesses)) for name, guesses in zip(rows, made, strict=True)]
    except Refused as error:
        if len(rows) > 1:
            return [answer for name, row in rows.items() for answer in _ask(server, model, {name: row}, top, found)]
        found.skipped[next(iter(rows))] = str(error)
        return []
