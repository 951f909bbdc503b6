"""What flows between the stages, and the manifests (JSON) that travel with a model and with an engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from se_deploy.errors import ArtifactError
from se_deploy.files import sha256, write_text

#: The manifests' format; a reader refuses another.
FORMAT: Literal[1] = 1
#: No manifest is larger: scales of 10,000 tensors are 2 MB. Checked before it is read.
MAX_BYTES = 64 << 20

Precision = Literal["fp32", "fp16", "int8"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

#: What a stage calls while it works: (what is being done, steps done, steps in all or None where unknown).
Progress = Callable[[str, int, int | None], None]


def silent(_what: str, _done: int, _total: int | None) -> None:
    """The progress callback of a caller who does not want any."""


class Record(BaseModel):
    """A frozen piece of a manifest; unknown keys are refused, so that a typo is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocess(Record):
    """From a decoded image to the network's input: resize, centre crop, order of colours, (pixel * scale - mean) / std.

    `resize` and `crop` are pixels: one number is the short side (resize) or a square (crop); a pair is (height, width), and for
    `resize` does not keep the aspect ratio. None leaves the step out. `mean` and `std` hold one value per channel, in the order
    of `color`, after `scale` (1/255 where the network wants 0–1, 1 where it wants 0–255).
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    color: Literal["RGB", "BGR", "L"] = "RGB"
    scale: float = Field(default=1 / 255, gt=0)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class FileRef(Record):
    """A file named relative to its manifest, never a path of the user's machine."""

    file: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRef:
        """The reference for a file that lies beside its manifest."""
        return cls(file=path.name, sha256=sha256(path))


class SourceRef(FileRef):
    """Where a model came from. `arch` is how `networks` rebuilds it, such as `timm:seresnet50`; None for an .onnx source."""

    arch: str | None = None


class InputSpec(Record):
    """A network's input: `shape` holds sizes and, where a dimension is dynamic, its name; min, opt and max are whole shapes."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class OutputSpec(Record):
    """A network's output."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class PluginRef(FileRef):
    """The plugin library an engine needs, and how many of the engine's layers are the plugin's."""

    version: str
    layers: int


class ModelManifest(Record):
    """`DIR/manifest.json`: what `export` knew, for every later step."""

    format: Literal[1] = FORMAT
    name: str
    source: SourceRef
    model: FileRef
    plain: FileRef
    weights: FileRef | None
    reference: FileRef
    exporter: Literal["dynamo", "torchscript", "onnx"]
    opset: int
    versions: dict[str, str]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    se_blocks: int


class FellBack(Record):
    """A layer or SE block that INT8 left in float: the node's name and operator, what the answers keep (SQNR in dB, 200 at most) with
    this node alone in INT8, and the reason in words."""

    name: str
    op: str
    sqnr_db: float
    reason: str


class KeptFp32(Record):
    """A node that stays in FP32 in an FP16 graph though its operator need not: its name and operator, and the reason in words."""

    name: str
    op: str
    reason: str


class Halved(Record):
    """What FP16 (or FP16 around INT8) leaves in FP32 because of what tensors or weights hold, in the graph's order.

    `images`: how many were looked at; None where none were. `sqnr_db`: what the answers keep of FP32's on some of them.
    """

    images: int | None
    sqnr_db: float | None
    in_fp32: tuple[KeptFp32, ...]


class Judged(Record):
    """What a bound on INT8's accuracy was judged by, in percent against the model in FP32; `top1`, `top1_reference` and `drop` need labels.

    `judged_on` is "data", or "a fifth of calib". `fallback`: what went back to float so that the bound holds, the most sensitive first.
    `in_fp32`: as `Halved`'s.
    """

    bound: str
    judged_on: str
    images: int
    agreement: float
    top1: float | None
    top1_reference: float | None
    drop: float | None
    sqnr_db: float
    fallback: tuple[FellBack, ...]
    in_fp32: tuple[KeptFp32, ...] = ()


class EngineManifest(Record):
    """`FILE.json` beside an engine: what `bench`, `package` and the C++ loader read instead of asking again."""

    format: Literal[1] = FORMAT
    name: str
    backend: str
    precision: Precision
    engine: FileRef
    model: FileRef
    source: SourceRef
    scales: FileRef | None
    plugin: PluginRef | None
    versions: dict[str, str]
    targets: tuple[str, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    se_blocks: int
    #: None: INT8 had no bound, and nothing was looked for or found that FP16 cannot hold.
    accuracy: Judged | Halved | None


class Result(Record):
    """What `export`, `fuse`, `calibrate`, `build` and `fold` return, and print under `--json`; None where it does not apply."""

    output: Path
    manifest: Path | None = None
    backend: str | None = None
    precision: Precision | None = None
    se_blocks: int | None = None
    plugin_layers: int | None = None
    images: int | None = None
    seconds: float
    peak_rss_mb: float
    fallback: tuple[str, ...] | None = None
    #: Remarks a user should read (what was guessed, skipped or falls short); printed on stderr, not part of the JSON contract.
    notes: tuple[str, ...] = Field(default=(), exclude=True)


def peak_rss_mb() -> float:
    """The most resident memory this process has had, in MB."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():  # Linux's getrusage counts the process that started this one in, too
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Block(Record):
    """One SE block of a graph, fused or one that could be; a line of `inspect`'s report."""

    name: str
    pooled: str
    channels: int
    reduced: int
    activation: str
    gate: str
    alpha: float | None
    beta: float | None
    skip: str
    epilogue: str
    params: int
    macs: int


class Rejection(Record):
    """A near miss: the node where it would have been, a stable id of the kind, and the reason in words."""

    node: str
    id: str
    reason: str


@dataclass(frozen=True)
class NodeWork:
    """A node outside SE blocks; elements of what it reads (weights apart) and writes, multiply-adds."""

    name: str
    kind: Literal["layer", "pointwise", "other"]
    read: int
    weights: int
    written: int
    macs: int


@dataclass(frozen=True)
class BlockWork:
    """An SE block. `positions` are those of a map; `followed` says that an elementwise operator stands behind the block that a runtime
    could compute with its scaling, `read_elsewhere` that something else reads the block's output, too."""

    name: str
    channels: int
    reduced: int | None
    positions: int
    residual: bool
    skip: bool
    epilogue: bool
    followed: bool
    read_elsewhere: bool


class Report(Record):
    """What `inspect` finds. Counts are at the declared input size, batch 1; `se_weights` leaves biases out (the paper's 2/r ΣN·C²)."""

    blocks: tuple[Block, ...]
    fused: int
    rejected: tuple[Rejection, ...]
    params: int
    se_params: int
    se_weights: int
    macs: int
    se_macs: int
    #: Remarks a user should read (sizes taken, what could not be counted); printed on stderr, not part of the JSON contract.
    notes: tuple[str, ...] = Field(default=(), exclude=True)


class TensorScale(Record):
    """A calibrated tensor: the range seen, and the symmetric INT8 scale chosen from it, a normal number of FP32.

    `method` is how the scale was chosen; None where there was nothing to choose from.
    """

    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)
    scale: float = Field(ge=1.2e-38, le=1.7e38)
    method: str | None = None


class Tried(Record):
    """A repair that was tried: the answers' SQNR in dB without and with it (None: nothing was there to judge by), and whether it is on."""

    repair: str
    without_db: float | None
    with_db: float | None
    taken: bool


#: What an equalised tensor is called after the tensor, in the scale file and in the graph.
EQUALISED = "/equalised"


class Repairs(Record):
    """What is done to the graph before it is quantized, besides folding BatchNorm into convolutions.

    `factors` has for each equalised tensor of the graph what its channels are divided by; what is quantized then is called
    TENSOR/equalised. `outputs` has the same for what convolutions give in the unsigned form, where a Mul undoes it: TENSOR/by-channel.
    `shifted` are tensors that a constant is added to in the signed form, so that they use all of int8.
    `images` is how many images judged, none of them among those that were measured.
    """

    images: int
    tried: tuple[Tried, ...]
    factors: dict[str, tuple[float, ...]]
    outputs: dict[str, tuple[float, ...]] = {}
    shifted: tuple[str, ...] = ()


class Scales(Record):
    """`calibration/NAME.json`: scales, and what they were measured on; refused for another graph (`graph` is model.onnx's SHA-256).

    Without `repairs` (files of earlier versions) the graph is quantized as it is.
    """

    format: Literal[1] = FORMAT
    graph: str
    preprocess: Preprocess
    images: int
    images_sha256: str
    method: str
    tensors: dict[str, TensorScale]
    repairs: Repairs | None = None


Manifest = TypeVar("Manifest", ModelManifest, EngineManifest, Scales)


def read(kind: type[Manifest], path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        ArtifactError: it is missing, not JSON, or not of this format.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path} is larger than {MAX_BYTES >> 20} MB: that is no manifest", "export the model again")
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}", "run `se-deploy export` first") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ArtifactError(f"{path}: {where}: {first['msg']}", "export the model again") from error


def write(manifest: ModelManifest | EngineManifest | Scales, path: Path) -> None:
    """Writes a manifest whole or not at all."""
    write_text(path, manifest.model_dump_json(indent=2) + "\n")
