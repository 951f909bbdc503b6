"""Images through a network with its gates in sight; one batch is alive at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import Progress, Scales
from se_deploy.backends import Runner
from se_deploy.errors import GraphError
from se_deploy.graph import gates
from se_deploy.graph.find import Match, find
from se_deploy.graph.fuse import fuse
from se_deploy.graph.read import read, write
from se_deploy.insight import bounds, propagate
from se_deploy.insight.coverage import Beyond
from se_deploy.insight.moments import Moments
from se_deploy.insight.report import Coverage
from se_deploy.insight.summary import Watched
from se_deploy.quant import scales as measured
from se_deploy.stages.steps import pictures
from se_deploy.stages.steps.exported import Exported
from se_deploy.verify.samples import Pictures

#: Where `calibrate` puts scales when no place is named.
CALIBRATION = Path("calibration")


@dataclass(frozen=True)
class Blocks:
    """A model whose every SE block is one node, and these blocks."""

    model: ModelProto
    matches: tuple[Match, ...]


def blocks_of(source: Exported) -> Blocks:
    """A model directory's network, blocks that were left unfused fused here too.

    Raises:
        GraphError: it has no SE block in floating point.
    """
    model = fuse(read(source.model)).model
    matches = find(model).matches
    if not matches:
        raise GraphError(f"{source.model} has no SE block", "`se-deploy inspect` without --data says what comes near one")
    if any(match.variant.int8 for match in matches):
        raise GraphError(f"{source.model} has SE blocks in INT8", "name the model that was exported in FP32")
    return Blocks(model, matches)


def observe(
    source: Exported, blocks: Blocks, tried: Pictures, found: tuple[str, Scales] | None, progress: Progress
) -> tuple[list[Watched], Coverage | None]:
    """What the gates did on the images, and how far the images go beyond the calibrated ranges.

    Raises:
        ImageError: no image can be read, or one has another size than the network takes.
    """
    plain, taps = gates.tapped(blocks.model)
    moments = [_empty(match, len(pictures.classes_of(tried.images))) for match in blocks.matches]
    made = {name for node in plain.graph.node for name in node.output} | {tried.spec.name}
    ranges = {name: Beyond(scale.min, scale.max) for name, scale in (found[1].tensors if found else {}).items() if name in made}
    inner = [name for name in ranges if name != tried.spec.name]
    gates.watching(plain, [*(name for tap in taps for name in (tap.pooled, tap.gate)), *inner])
    done = 0
    with opened(plain) as runner:
        progress("watch the gates", 0, len(tried))
        for chunk, answer in pictures.answers(runner, tried):
            assert chunk.labels is not None
            for tap, seen in zip(taps, moments, strict=True):
                seen.add(pictures.rows(answer[tap.gate]), pictures.rows(answer[tap.pooled]), chunk.labels)
            for name, beyond in ranges.items():
                beyond.add(chunk.feeds[name] if name == tried.spec.name else answer[name])
            done += len(chunk.names)
            progress("watch the gates", done + len(tried.images.skipped), len(tried))
    proven = propagate.gates(blocks.model, {tried.spec.name: propagate.pixels(tried.how)})
    watched = [
        Watched(match.name, match.variant, match.weights, match.attributes, seen, proven.get(match.name))
        for match, seen in zip(blocks.matches, moments, strict=True)
    ]
    if found is None:
        return watched, None
    tensors = sorted((beyond.report(name) for name, beyond in ranges.items()), key=lambda t: (-t.values_beyond, -t.images_beyond))
    return watched, Coverage(scales=found[0], calibrated_on=found[1].images, tensors=tuple(tensors))


def _empty(match: Match, classes: int) -> Moments:
    return Moments(match.channels, classes, bounds.limits(match.variant.gate, match.attributes))


@contextmanager
def opened(model: ModelProto) -> Iterator[Runner]:
    """A model in ONNX Runtime, through a file that goes away with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watched.onnx"
        write(model, path)
        with backends.get("onnxruntime").open(path) as runner:
            yield runner


def scales_of(source: Exported, named: str | Path | None) -> tuple[str, Scales] | None:
    """The scale file that is named, else the one that `calibrate` or `build` left for this very graph; None where there is none.

    Raises:
        QuantError: the named file is missing, malformed, or of another graph or preprocessing.
    """
    graph, how = source.manifest.model.sha256, source.manifest.preprocess
    if named is not None:
        found = measured.read(Path(named))
        measured.check(found, Path(named), graph=graph, preprocess=how)
        return Path(named).name, found
    for path in _left(source):
        found = measured.read(path)
        if found.graph == graph and found.preprocess == how:
            return path.name, found
    return None


def _left(source: Exported) -> Sequence[Path]:
    beside = sorted(source.folder.glob("*.scales.json"), key=lambda path: -path.stat().st_mtime_ns)
    usual = CALIBRATION / f"{source.manifest.name}.json"
    return [*([usual] if usual.is_file() else []), *beside]
