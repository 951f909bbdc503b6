"""What `bench` finds, as its JSON has it. Percentages are 0-100, intervals 95 %, latencies milliseconds per batch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from se_deploy.artifacts import Precision, Record
from se_deploy.errors import CheckFailed
from se_deploy.verify.intervals import Interval


class Accuracy(Record):
    """An engine's outputs against the reference's on the same inputs.

    Agreement, top-1 and top-5 are shares of images; null where no output is class scores, where there are no labels, and (top-5)
    where there are no more than five classes. Errors are the worst output's: `max_abs_error` over all elements, `cosine` as the mean over
    images, `sqnr_db` = 10 log10(Σ reference² / Σ error²). They are null where a NaN or Inf makes them meaningless, and `sqnr_db` also
    where there is no error at all.
    """

    images: int
    agreement: Interval | None
    top1: Interval | None
    top5: Interval | None
    top1_reference: Interval | None
    max_abs_error: float | None
    cosine: float | None
    sqnr_db: float | None
    #: Images on which the reference's own two best probabilities differ by less than 0.02; None without class scores.
    undecided: int | None
    agreement_decided: Interval | None


class Latency(Record):
    """Milliseconds per batch, over `n` runs."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    n: int


class Run(Record):
    """One engine at one batch size."""

    engine: str
    backend: str
    precision: Precision
    device: str
    batch: int
    size_bytes: int
    accuracy: Accuracy
    latency_ms: Latency
    device_latency_ms: Latency | None
    #: Images per second.
    throughput: float
    #: The reference's mean latency over the engine's, measured in turns.
    speedup: Interval


class Reference(Record):
    """What the engines were compared with; its latency is the first batch size's."""

    kind: Literal["pytorch", "onnx"]
    latency_ms: Latency


class BenchReport(Record):
    """What `bench` returns."""

    runs: tuple[Run, ...]
    reference: Reference
    passed: bool
    #: Host threads of engines and reference alike; not part of the JSON contract, nor are the next two.
    threads: int = Field(exclude=True)
    #: What did not pass, a sentence each.
    failures: tuple[str, ...] = Field(default=(), exclude=True)
    #: Remarks a user should read.
    notes: tuple[str, ...] = Field(default=(), exclude=True)

    def check(self) -> None:
        """Raises where something did not pass.

        Raises:
            CheckFailed: names everything that did not pass.
        """
        if not self.passed:
            raise CheckFailed("; ".join(self.failures), "the report has the figures")
