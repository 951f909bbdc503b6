"""A network on images that were kept apart, its gates held at constants at will; and what holding each one costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import ModelManifest, Progress
from se_deploy.backends import Runner
from se_deploy.errors import FoldError
from se_deploy.graph import gates
from se_deploy.insight.folding import Score
from se_deploy.stages.steps import pictures
from se_deploy.stages.steps.gates import Blocks, opened
from se_deploy.stages.steps.pictures import Tensors
from se_deploy.verify.classes import class_scores
from se_deploy.verify.samples import Chunk, Pictures

#: Bytes of prepared images that are kept between passes; more are read again.
KEPT = 1 << 28


@dataclass
class Held:
    """The network with a switch for each of the named blocks."""

    runner: Runner
    names: tuple[str, ...]
    output: str
    progress: Progress
    _kept: dict[int, list[Chunk]] = field(default_factory=dict)

    def answers(self, tried: Pictures, folded: frozenset[str], what: str) -> Iterator[tuple[Chunk, NDArray[np.float32]]]:
        """The class scores (N, classes) of every image, with these blocks' gates held."""
        switches = {gates.switch(name): np.asarray(name in folded) for name in self.names}
        done = 0
        self.progress(what, 0, len(tried))
        for chunk, answer in self._passes(tried, switches):
            done += len(chunk.names)
            self.progress(what, done, len(tried))
            yield chunk, pictures.rows(answer[self.output])

    def _passes(self, tried: Pictures, switches: Tensors) -> Iterator[tuple[Chunk, Tensors]]:
        size = [s for s in tried.spec.shape[1:] if isinstance(s, int)]
        small = len(size) == 3 and len(tried) * int(np.prod(size)) * 4 <= KEPT
        if small and id(tried) not in self._kept:
            self._kept[id(tried)] = list(tried.chunks(pictures.batch_of(tried)))
        return pictures.answers(self.runner, tried, switches, self._kept.get(id(tried)))

    def scores(self, tried: Pictures, folded: frozenset[str], what: str) -> NDArray[np.float32]:
        """All of them, (images, classes)."""
        return np.concatenate([scores for _, scores in self.answers(tried, folded, what)])


@contextmanager
def holding(blocks: Blocks, constants: Mapping[str, NDArray[np.float32]], manifest: ModelManifest, progress: Progress) -> Iterator[Held]:
    """Opens the network with a switch for each block that has a constant.

    Raises:
        FoldError: it gives no class scores.
    """
    output = scores_of(manifest)
    plain, taps = gates.tapped(blocks.model)
    with opened(gates.switched(plain, taps, constants)) as runner:
        yield Held(runner, tuple(constants), output, progress)


def scores_of(manifest: ModelManifest) -> str:
    """The output that folding is judged by.

    Raises:
        FoldError: no output is class scores.
    """
    output = next((output.name for output in manifest.outputs if class_scores(output.shape)), None)
    if output is None:
        raise FoldError(f"no output of {manifest.name} is class scores, by which folding is judged", "fold a classifier")
    return output


@dataclass
class Judge:
    """Compares answers with those of the network as it was, and with labels (in the images' order) where there are any."""

    before: NDArray[np.int64]
    labels: NDArray[np.int64] | None

    def top1(self) -> float | None:
        """Of the network as it was, in percent."""
        return None if self.labels is None else 100 * float((self.before == self.labels).mean())

    def score(self, scores: NDArray[np.float32]) -> Score:
        """Of the answers of a folded network."""
        best, was = scores.argmax(1), self.top1()
        right = None if self.labels is None else 100 * float((best == self.labels).mean())
        drop = None if right is None or was is None else was - right
        return Score(images=len(best), agreement=100 * float((best == self.before).mean()), top1=right, drop=drop)


def loss(scores: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    """Squared error as a share of the variance that the scores have over the images."""
    before = before.astype(np.float64)
    spread = np.square(before - before.mean(0)).sum()
    return float(np.square(scores - before).sum() / max(spread, 1e-30))
