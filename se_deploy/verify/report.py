"""What `bench` finds, as its JSON has it. Percentages are 0-100, intervals 95 %, latencies milliseconds per batch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from se_deploy.artifacts import Precision, Record
from se_deploy.errors import CheckFailed
from se_deploy.verify.intervals import Interval


class NonFinite(Record):
    """Images whose values of an output held NaN (or, without any, Inf), and the first of them."""

    whose: str
    kind: str
    images: int
    first: str


class ToleranceResult(Record):
    """The tolerance that was asked for, and the share of elements (percent) that pass both of its limits."""

    rtol: float
    atol: float
    beyond_percent: float
    passed: bool


class OutputError(Record):
    """One output's absolute errors over all elements of all images; `shape` is one image's, without the batch.

    `p99` is right to 0.8 %. `cosine` is the mean over images. `iou` is of cells above 0.5, for maps whose reference stays in 0-1.
    """

    name: str
    shape: tuple[int, ...]
    max: float | None
    mean: float | None
    p99: float | None
    cosine: float | None
    cosine_min: float | None
    sqnr_db: float | None
    iou: float | None
    tolerance: ToleranceResult | None
    non_finite: tuple[NonFinite, ...]


class Paired(Record):
    """McNemar's exact test of engine against reference: images on which one alone is right, and the drop in percentage points."""

    only_engine: int
    only_reference: int
    p: float
    drop: Interval


class ClassDrop(Record):
    """One class: its images, and the percent of them that each got right."""

    name: str
    images: int
    top1: float
    top1_reference: float
    drop: float


class WorstImage(Record):
    """An image on which an output is farthest from the reference's: |error| / |reference| (None: not finite), and the answers."""

    name: str
    output: str
    error: float | None
    answer: str | None
    reference: str | None
    label: str | None


class Verification(Record):
    """Pairs judged same or different by the cosine of their embeddings, by ten folds as in Labelled Faces in the Wild."""

    pairs: int
    same: int
    accuracy: Interval
    accuracy_reference: Interval
    paired: Paired
    max_cosine_change: float


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
    outputs: tuple[OutputError, ...] = ()
    #: With labels only, as are `classes`: those with the largest drop first.
    paired: Paired | None = None
    classes: tuple[ClassDrop, ...] = ()
    worst: tuple[WorstImage, ...] = ()
    verification: Verification | None = None


class Latency(Record):
    """Milliseconds per batch, over `n` runs."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    n: int


class Histogram(Record):
    """Counts of calls between neighbouring edges (ms), one edge more than counts; the last bin takes the slowest call."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Warmup(Record):
    """Calls before measuring, and whether they had become steady: the last two windows' medians within 5 %."""

    seconds: float
    calls: int
    steady: bool


class Versus(Record):
    """A baseline that was measured in the same rounds: its mean latency over the engine's."""

    name: str
    latency_ms: Latency
    speedup: Interval


class Gpu(Record):
    """What only a GPU has: the device's time where the network is replayed as a CUDA graph, images per second by the number of
    contexts on streams of their own, and the clocks before and after (MHz, degrees Celsius, watts).
    """

    graph_latency_ms: Latency
    streams: dict[int, float]
    clocks_before: dict[str, float]
    clocks_after: dict[str, float]


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
    threads: int
    warmup: Warmup
    histogram_ms: Histogram
    baselines: tuple[Versus, ...] = ()
    gpu: Gpu | None = None


class Included(Record):
    """What a latency holds: copies to and from the device, and decoding and preprocessing of images."""

    copies: bool = True
    preprocessing: bool = False


class ReferenceRun(Record):
    """The reference at one batch size, measured in turns with the engines of that size."""

    batch: int
    threads: int
    latency_ms: Latency
    throughput: float
    histogram_ms: Histogram


class Reference(Record):
    """What the engines were compared with; its latency is the first batch size's."""

    kind: Literal["pytorch", "onnx"]
    latency_ms: Latency
    #: By batch size, in the order in which they were measured.
    batches: tuple[ReferenceRun, ...] = ()


class BenchReport(Record):
    """What `bench` returns."""

    runs: tuple[Run, ...]
    reference: Reference
    passed: bool
    included: Included = Included()
    #: Milliseconds for an image's decoding and preprocessing, on one of the threads that do it; None without images.
    preprocess_ms: float | None = None
    #: Host threads of engines and reference alike; not part of the JSON contract, nor are the next two.
    threads: tuple[int, ...] = Field(exclude=True)
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
