"""Which gates to fold: greedily, the least loss for the latency saved first, each step judged on images that did not choose the order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from se_deploy.artifacts import Record

State = Literal["folded", "varies", "costs accuracy"]


class Score(Record):
    """A network on the images kept apart, in percent. `top1` and `drop` (points below the network as it was) need labels."""

    images: int
    agreement: float
    top1: float | None
    drop: float | None


class FoldedBlock(Record):
    """A block: how much its gate varies, what folding it alone costs (squared error of the scores as a share of their variance, on the
    images that choose) and saves (predicted µs), what became of it, and where its factor went."""

    name: str
    variation: float
    loss: float | None
    saved_us: float
    state: State
    where: str | None


class FoldedChannels(Record):
    """A block that stays: channels whose gates were constant and are folded, those of them removed, hidden units that went."""

    name: str
    folded: int
    removed: int
    units: int


class Step(Record):
    """A point of the curve: the blocks that keep their gates after one more is folded; `kept` says whether the step was."""

    block: str
    blocks_left: int
    score: Score
    kept: bool


class Totals(Record):
    """Before and after."""

    before: float
    after: float


class FoldReport(Record):
    """What `fold` did; `fold.json` in the model directory."""

    epsilon: float
    max_drop: float | None
    min_agreement: float | None
    target: str
    images_choosing: int
    score_before: Score
    score: Score
    blocks: tuple[FoldedBlock, ...]
    channels: tuple[FoldedChannels, ...]
    curve: tuple[Step, ...]
    params: Totals
    macs: Totals
    se_blocks: Totals
    predicted_us: Totals
    #: Medians on ONNX Runtime on this machine, in turns, batch 1 (or the network's own).
    latency_ms: Totals


@dataclass(frozen=True)
class Bound:
    """What the folded network must keep; None: no such bound."""

    max_drop: float | None
    min_agreement: float | None

    def holds(self, score: Score) -> bool:
        """Whether a score is within it."""
        if self.max_drop is not None and (score.drop is None or score.drop > self.max_drop):
            return False
        return self.min_agreement is None or score.agreement >= self.min_agreement

    def __str__(self) -> str:
        drop = [] if self.max_drop is None else [f"a drop of at most {self.max_drop:g} points of top-1"]
        return " and ".join(drop + ([] if self.min_agreement is None else [f"an agreement of at least {self.min_agreement:g} %"]))


def order(losses: Mapping[str, float], saved: Mapping[str, float]) -> list[str]:
    """The least loss per microsecond first; what saves nothing comes last, the least loss first."""
    least = 1e-12  # among blocks that cost nothing, the one that saves most
    return sorted(losses, key=lambda name: (saved[name] <= 0, (losses[name] + least) / max(saved[name], 1e-9), name))


def choose(names: Sequence[str], blocks: int, judge: Callable[[frozenset[str]], Score], bound: Bound) -> tuple[frozenset[str], list[Step]]:
    """Folds one block after the other; one that breaks the bound is left, and the next is tried without it.

    Args:
        names: the candidates, in the order in which they are tried.
        blocks: how many blocks the network has.
        judge: the score of the network with these blocks folded.
        bound: what must hold.
    """
    chosen: frozenset[str] = frozenset()
    curve = []
    for name in names:
        score = judge(chosen | {name})
        kept = bound.holds(score)
        chosen = chosen | {name} if kept else chosen
        curve.append(Step(block=name, blocks_left=blocks - len(chosen) - (not kept), score=score, kept=kept))
    return chosen, curve
