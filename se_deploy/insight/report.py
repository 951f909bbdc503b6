"""What `inspect --data` says of gates; every number is of the images that were given."""

from __future__ import annotations

from se_deploy.artifacts import Record

#: The quantiles that are reported, in the order of every `quantiles` field.
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class ClassGates(Record):
    """A block's gates on one class's images, over all channels. `deviation` is how far the class's mean gates are from those of all
    images (root mean square over channels): what makes the class a special one for the block."""

    name: str
    images: int
    mean: float | None
    std: float | None
    quantiles: tuple[float | None, ...]
    deviation: float | None


class ChannelGates(Record):
    """A channel's gate. `specificity` is the share of its variance that lies between classes (0 where it has none); `bound_*` hold
    for every pooled vector in the range seen, `proven_*` for every image at all (None where that cannot be told)."""

    mean: float
    std: float
    min: float
    max: float
    quantiles: tuple[float, ...]
    specificity: float | None
    bound_low: float
    bound_high: float
    proven_low: float | None
    proven_high: float | None


class BlockGates(Record):
    """A block's gates over all images and channels; `saturated`, `dead` and `constant` list channels."""

    name: str
    gate: str
    mean: float
    std: float
    #: The root mean square over channels of each gate's standard deviation over images: what `fold` calls its variation.
    variation: float
    quantiles: tuple[float, ...]
    specificity: float | None
    saturated: tuple[int, ...]
    dead: tuple[int, ...]
    constant: tuple[int, ...]
    classes: tuple[ClassGates, ...]
    channels: tuple[ChannelGates, ...]
    #: A row a class, a value a channel; None where they would be more than MOST numbers: the CSV files hold them all.
    class_means: tuple[tuple[float | None, ...], ...] | None


class Ranked(Record):
    """A channel in the order of class specificity; `between` is the standard deviation of its class means."""

    block: str
    channel: int
    specificity: float
    between: float
    highest: str
    lowest: str


class TensorCoverage(Record):
    """A calibrated tensor: the share of values and of images (in percent) that lie beyond the range of the calibration images."""

    tensor: str
    min: float
    max: float
    seen_min: float
    seen_max: float
    values_beyond: float
    images_beyond: float


class Coverage(Record):
    """How well the calibration images stand for these."""

    scales: str
    calibrated_on: int
    tensors: tuple[TensorCoverage, ...]


class GateReport(Record):
    """`ranking` holds the most class-specific channels of all blocks, constant ones left out; empty without classes."""

    images: int
    classes: tuple[str, ...]
    blocks: tuple[BlockGates, ...]
    ranking: tuple[Ranked, ...]
    coverage: Coverage | None
