"""What a server is told of an engine: names, types, sizes, batches. Derived from the manifest; contradictions are refused here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from se_deploy.artifacts import EngineManifest, InputSpec, OutputSpec
from se_deploy.errors import PackageError
from se_deploy.images import check_sane

#: Of one request: 2 GB, the most that gRPC and protobuf take, is half a billion float32.
MAX_ELEMENTS = 1 << 29

#: What a graph says of an input or output: name, NumPy's name of the type, shape.
Port = tuple[str, str, Sequence[int | str]]

#: NumPy's names of types -> Triton's.
TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output without its batch: -1 where a size is dynamic."""

    name: str
    type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Contract:
    """`max_batch` is 0 where the batch is part of the shape: Triton then stacks nothing."""

    max_batch: int
    preferred: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: The output that holds a score for each label, where there are labels.
    scores: str | None


def contract(manifest: EngineManifest, max_batch: int | None = None) -> Contract:
    """The contract of an engine.

    Args:
        manifest: the engine's.
        max_batch: the largest batch that a server may form; None: the profile's largest.

    Raises:
        ImageError: no image could be prepared as the manifest says.
        PackageError: `max_batch` contradicts the graph or its profile, a type has no name in Triton, or labels fit no output.
    """
    check_sane(manifest.preprocess)
    shapes = [*(spec.shape for spec in manifest.inputs), *(spec.shape for spec in manifest.outputs)]
    batched = all(shape and isinstance(shape[0], str) for shape in shapes)
    _check_profiles(manifest)
    largest = _largest(manifest, batched, max_batch)
    first = manifest.inputs[0]
    preferred = sorted({size for size in (first.opt[0], largest) if 1 < size <= largest}) if batched else []
    return Contract(
        max_batch=largest,
        preferred=tuple(preferred),
        inputs=tuple(_tensor(spec, batched) for spec in manifest.inputs),
        outputs=tuple(_tensor(spec, batched) for spec in manifest.outputs),
        scores=_scores(manifest, batched),
    )


def check_graph(manifest: EngineManifest, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Refuses a manifest whose names, types or sizes are not the graph's own.

    Raises:
        PackageError: names the first that differs.
    """
    for kind, described, there in (("input", manifest.inputs, inputs), ("output", manifest.outputs, outputs)):
        graph = {name: (dtype, tuple(shape)) for name, dtype, shape in there}
        if {spec.name for spec in described} != set(graph):
            said, has = ", ".join(spec.name for spec in described), ", ".join(graph)
            raise PackageError(f"the manifest names the {kind}(s) {said}, the graph has {has}", "build the engine again")
        for spec in described:
            dtype, shape = graph[spec.name]
            fixed = len(shape) == len(spec.shape) and all(
                a == b for a, b in zip(spec.shape, shape, strict=True) if isinstance(a, int) and isinstance(b, int)
            )
            loose = any(isinstance(a, str) != isinstance(b, str) for a, b in zip(spec.shape, shape, strict=False))
            if dtype != spec.dtype or not fixed or (kind == "input" and loose):
                raise PackageError(
                    f"{kind} {spec.name} is {spec.dtype} {list(spec.shape)} in the manifest and {dtype} {list(shape)} in the graph",
                    "build the engine again",
                )


def _check_profiles(manifest: EngineManifest) -> None:
    """Refuses sizes that contradict each other or that no request can have, before anything is made of that size."""
    if not manifest.inputs or not manifest.outputs:
        raise PackageError("the manifest names no input or no output", "build the engine again")
    for spec in manifest.inputs:
        whole = [spec.min, spec.opt, spec.max]
        same = all(len(sizes) == len(spec.shape) for sizes in whole)
        grows = same and all(1 <= low <= best <= high for low, best, high in zip(*whole, strict=True))
        kept = same and all(isinstance(size, str) or size == best for size, best in zip(spec.shape, spec.opt, strict=True))
        if not (grows and kept and math.prod(spec.max) <= MAX_ELEMENTS):
            raise PackageError(f"input {spec.name} {list(spec.shape)} has sizes that no request can have", "build the engine again")


def _largest(manifest: EngineManifest, batched: bool, asked: int | None) -> int:
    if not batched:
        fixed = manifest.inputs[0].shape[0] if manifest.inputs[0].shape else 1
        if asked is not None and asked > 1:
            raise PackageError(
                f"--max-batch {asked}: the engine's batch is fixed at {fixed}", "export with --batch dynamic and build again"
            )
        return 0
    largest, smallest = (pick(getattr(spec, end)[0] for spec in manifest.inputs) for pick, end in ((min, "max"), (max, "min")))
    if asked is not None and not 1 <= asked <= largest:
        raise PackageError(
            f"--max-batch {asked}: the engine is built for batches up to {largest}", "build with a larger one by --shapes, or ask for less"
        )
    if smallest > 1:
        raise PackageError(
            f"the engine takes no batch below {smallest}, and a server sends single ones too", "build with --shapes NAME:1,opt,max"
        )
    return asked or largest


def _tensor(spec: InputSpec | OutputSpec, batched: bool) -> Tensor:
    if spec.dtype not in TYPES:
        raise PackageError(f"{spec.name} is of type {spec.dtype}, which Triton does not have", f"it has {', '.join(TYPES)}")
    sizes = spec.shape[1:] if batched else spec.shape
    return Tensor(spec.name, TYPES[spec.dtype], tuple(size if isinstance(size, int) else -1 for size in sizes))


def _scores(manifest: EngineManifest, batched: bool) -> str | None:
    """The output that the labels belong to: the only one of (batch, classes), with as many classes as there are labels."""
    if manifest.labels is None:
        return None
    rows = [spec for spec in manifest.outputs if len(spec.shape) == 2 and spec.shape[1] == len(manifest.labels)]
    if not rows:
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in manifest.outputs)
        raise PackageError(f"{len(manifest.labels)} labels fit no output: {shapes}", "export again with the right --labels")
    return rows[0].name if batched or rows[0].shape[0] == 1 else None
