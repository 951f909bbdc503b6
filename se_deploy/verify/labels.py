"""Which class an image is of: by its class folder or by a CSV, in the order of the network's outputs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from se_deploy.errors import ImageError
from se_deploy.images import Images

#: How many names an error or a remark lists.
NAMED = 5


def by_folder(images: Images, labels: Sequence[str] | None, count: int) -> dict[Path, int]:
    """The class index of every image, from its class folder.

    Folders are matched to `labels` by name; without labels their sorted order is the class index.

    Raises:
        ImageError: a folder is none of the labels, or (without labels) there are not `count` folders.
    """
    folders = images.classes or ()
    if labels is None:
        if len(folders) != count:
            raise ImageError(
                f"{images.root} has {len(folders)} class folders, the network has {count} classes and no labels",
                "give every class its folder, export with --labels, or bench with --labels CSV",
            )
        return {path: images.class_of(path) for path in images.paths}
    strangers = [folder for folder in folders if folder not in labels]
    if strangers:
        raise ImageError(
            f"class folders not among the network's {len(labels)} labels under {images.root}: {listed(strangers)}",
            "name the folders as the labels, or bench with --labels CSV",
        )
    index = [labels.index(folder) for folder in folders]
    return {path: index[images.class_of(path)] for path in images.paths}


def by_csv(file: Path, root: Path, labels: Sequence[str] | None, count: int) -> dict[Path, int]:
    """The class index of every image that a CSV lists: `file,class` a line, files relative to `root`, classes by label or by index.

    A first line `file,class` is a heading. A class that is a label is taken as that, else as an index.

    Raises:
        ImageError: the CSV cannot be read, or a line (named by its number) has no such file or class, or repeats a file.
    """
    known: dict[Path, int] = {}
    for where, name, label in _lines(file):
        path = root / name
        if not path.is_file():
            raise ImageError(f"{where}: no file {path}", f"files are relative to {root}")
        if path in known:
            raise ImageError(f"{where}: {name} is listed twice", "leave one of them out")
        known[path] = _class(label, labels, count, where)
    if not known:
        raise ImageError(f"{file} lists no image", "write one `file,class` a line")
    return known


def _lines(file: Path) -> Iterator[tuple[str, str, str]]:
    """(where it stands, file, class) of every line that is not empty."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot read {file}: {error}", "name a CSV in UTF-8") from error
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if cells in ([], ["file", "class"]) and (number == 1 or not cells):
            continue
        if len(cells) != 2:
            raise ImageError(f"{file}, line {number}: {len(cells)} values", "write one `file,class` a line")
        yield f"{file}, line {number}", cells[0], cells[1]


def _class(label: str, labels: Sequence[str] | None, count: int, where: str) -> int:
    if labels is not None and label in labels:
        return labels.index(label)
    if not label.isdecimal() or int(label) >= count:
        known = f"one of the network's {count} labels" if labels is not None else "a label, for the network has none,"
        raise ImageError(f"{where}: {label!r} is neither {known} nor an index below {count}", "correct the line")
    return int(label)


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
