"""Embeddings: whether two images are taken for the same, by the cosine of what the network gives for them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from se_deploy.errors import ImageError
from se_deploy.verify.intervals import share
from se_deploy.verify.paired import paired
from se_deploy.verify.report import Verification

#: Labelled Faces in the Wild's protocol: a pair is judged by the threshold that is best on the other nine tenths.
FOLDS = 10
#: Fewer pairs than this leave nothing to choose a threshold on.
FEWEST = 4

Vectors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Pair:
    """Two images by name, and whether they show the same."""

    first: str
    second: str
    same: bool


def read_pairs(file: Path, root: Path) -> list[Pair]:
    """A CSV of `file,file,same` lines: files relative to `root`, `same` 1 or 0. A first line `file,file,same` is a heading.

    Raises:
        ImageError: it cannot be read, a line (named by its number) is not of that form or names no file, or all pairs are of one kind.
    """
    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot read {file}: {error}", "name a CSV in UTF-8") from error
    pairs = [_pair(f"{file}, line {number}", row, root) for number, row in enumerate(rows, start=1) if row and not _heading(number, row)]
    if len(pairs) < FEWEST or len({pair.same for pair in pairs}) < 2:
        raise ImageError(f"{file} has {len(pairs)} pairs", f"list at least {FEWEST}, both same (1) and different (0)")
    return pairs


def _heading(number: int, row: Sequence[str]) -> bool:
    return number == 1 and [cell.strip() for cell in row] == ["file", "file", "same"]


def _pair(where: str, row: Sequence[str], root: Path) -> Pair:
    cells = [cell.strip() for cell in row]
    if len(cells) != 3 or cells[2] not in ("0", "1"):
        raise ImageError(f"{where}: not `file,file,same` with same 1 or 0", "correct the line")
    for name in cells[:2]:
        if not (root / name).is_file():
            raise ImageError(f"{where}: no file {root / name}", f"files are relative to {root}")
    return Pair(cells[0], cells[1], cells[2] == "1")


class Embeddings:
    """Collects what engine and reference give for the images that pairs name: D floats an image, nothing of the images themselves."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)
        self._wanted = {name for pair in pairs for name in (pair.first, pair.second)}
        self._engine: dict[str, NDArray[np.float32]] = {}
        self._reference: dict[str, NDArray[np.float32]] = {}

    def add(self, got: NDArray[Any], expected: NDArray[Any], names: Sequence[str]) -> None:
        """One batch of embeddings, (N, D)."""
        for row, name in enumerate(names):
            if name in self._wanted:
                self._engine[name], self._reference[name] = _unit(got[row]), _unit(expected[row])

    def report(self) -> Verification | None:
        """Verification by either; pairs of which an image could not be read are left out. None where too few are left."""
        pairs = [pair for pair in self.pairs if pair.first in self._engine and pair.second in self._engine]
        same = np.array([pair.same for pair in pairs], np.bool_)
        if len(pairs) < FEWEST or same.all() or not same.any():
            return None
        ours, theirs = cosines(pairs, self._engine), cosines(pairs, self._reference)
        right, right_reference = verified(ours, same), verified(theirs, same)
        both, either = int((right & right_reference).sum()), int((right | right_reference).sum())
        accuracy, reference = share(int(right.sum()), len(pairs)), share(int(right_reference.sum()), len(pairs))
        test = paired(both, int(right.sum()) - both, int(right_reference.sum()) - both, len(pairs) - either)
        assert accuracy is not None
        assert reference is not None
        assert test is not None  # there are pairs
        return Verification(
            pairs=len(pairs),
            same=int(same.sum()),
            accuracy=accuracy,
            accuracy_reference=reference,
            paired=test,
            max_cosine_change=float(np.abs(ours - theirs).max()),
        )


def cosines(pairs: Sequence[Pair], vectors: Vectors) -> NDArray[np.float64]:
    """Of each pair; a vector that is not finite is like nothing (-1)."""
    values = [float(vectors[pair.first].astype(np.float64) @ vectors[pair.second]) for pair in pairs]
    return np.array([value if np.isfinite(value) else -1.0 for value in values])


def verified(similarity: NDArray[np.float64], same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pairs are judged rightly, each by the threshold that is best on the other folds."""
    fold = np.arange(len(same)) % min(FOLDS, len(same))
    right = np.zeros(len(same), np.bool_)
    for number in range(int(fold.max()) + 1):
        here = fold == number
        right[here] = (similarity[here] >= _best(similarity[~here], same[~here])) == same[here]
    return right


def _best(similarity: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The threshold that judges most pairs rightly: halfway between two neighbours, the middle one of equally good ones."""
    order = np.argsort(similarity)
    values, kinds = similarity[order], same[order]
    right = np.concatenate([[kinds.sum()], kinds.sum() + np.cumsum(np.where(kinds, -1, 1))])
    edges = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    best = np.flatnonzero(right == right.max())
    return float(edges[best[len(best) // 2]])


def _unit(vector: NDArray[Any]) -> NDArray[np.float32]:
    flat = vector.reshape(-1).astype(np.float64)
    length = float(np.linalg.norm(flat))
    return np.asarray(flat / length if length else flat, np.float32)
