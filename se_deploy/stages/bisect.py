"""`bisect`: the first place at which an engine leaves the FP32 reference, and each block's share of the error."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from se_deploy import backends
from se_deploy.artifacts import Progress, silent
from se_deploy.errors import BackendError, ImageError
from se_deploy.graph.segments import Segment
from se_deploy.images import check_channels, find_images
from se_deploy.stages.steps import bisecting, engines, failing, rescaled
from se_deploy.stages.steps.bisecting import Bench, Findings
from se_deploy.verify import bisection
from se_deploy.verify.bisection import Bisection, Gap, OutputGap, Place
from se_deploy.verify.samples import Pictures, Probes, Samples

__all__ = ["Bisection", "Place", "bisect"]

Tensors = dict[str, NDArray[Any]]


def bisect(
    engine: str | Path | None = None,
    *,
    data: str | Path | None = None,
    images: int = 4,
    tolerance: float | None = None,
    marks: Literal["auto", "tensors", "blocks"] = "auto",
    shares: bool = True,
    save: str | Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Bisection:
    """Holds an engine against plain.onnx in FP32, at every tensor that both have, on a few images.

    Each piece of the engine between two such tensors is run twice: in the engine's own run, where it gets what earlier layers made
    (`carried`), and alone on the reference's tensors (`own`), so that what it does by itself is told from what it was given. Its error
    alone, added to the tensor in the FP32 network, gives its share of the error at the outputs. A plan that does not run here (no GPU)
    is told by the graph that it was built from, without what is carried.

    Args:
        engine: a file, or a name to look for under engines/; None takes the newest engine there. An export's model.onnx, the fused graph
            in FP32, is taken too.
        data: a folder of images; left out, the probes that the export recorded.
        images: how many of them.
        tolerance: how far a piece may be from the reference, |error| / |reference|; None takes 1e-4, 0.01 or 0.2 by precision.
        marks: tensors of the engine's own run to look at: every one, or those behind SE blocks first and then every one between the
            last that agrees and the first that does not; "auto" takes all where the engine is an ONNX file, for marks break a plan's
            fusions.
        shares: follow each piece's error to the outputs.
        save: a folder for the piece that fails, its inputs, and a script that shows it by ONNX Runtime alone.
        threads: None takes the backend's own choice.
        progress: called at each slice.

    Raises:
        ArtifactError: the engine, its manifest or its export is missing, or they do not belong together.
        BackendError: the engine's backend is missing, or nothing can be compared.
        ImageError: no usable image.
    """
    started = time.perf_counter()
    if save is not None:
        failing.check(Path(save))
    built = engines.find_model(engine) or engines.find(engine)
    unable = _unable(built)
    feeds, notes = _feeds(built, data, images)
    limit = tolerance if tolerance is not None else bisection.TOLERANCE[built.manifest.precision]
    with bisecting.opened(built, feeds, threads, progress) as bench:
        outputs: tuple[OutputGap, ...] = ()
        if unable is None:
            outputs = _outputs(bench)
            _walk(bench, marks, limit)
        bench.replay(bench.segments, shares)
        gone = rescaled.find(bench, limit)
        if gone:
            bench.without(gone)
            bench.replay(bench.segments, shares)
            said = f"{len(gone)} tensor(s) hold other values that the next layer sets right, first {min(gone)}"
            notes.append(f"{said}: pieces go across them")
        places = _places(bench)
        first, kind = bisection.first(places, limit)
        if save is not None and first is not None:
            notes += failing.save(bench, next(s for s in bench.segments if s.output == first.tensor), Path(save), limit)
    return Bisection(
        engine=str(built.path),
        backend=built.manifest.backend,
        precision=built.manifest.precision,
        images=sum(len(next(iter(feed.values()))) for feed in feeds),
        tolerance=limit,
        outputs=outputs,
        first=first,
        kind=kind,
        shares=bisection.shared(places) if shares else (),
        places=places,
        saved=Path(save) if save is not None and first is not None else None,
        seconds=time.perf_counter() - started,
        notes=(*built.notes, *notes, *_remarks(unable, save, first)),
    )


def _unable(built: engines.Built) -> str | None:
    """Why the engine itself does not run here. What it was built from does: each piece of that is run by ONNX Runtime."""
    backend = backends.get(built.manifest.backend)
    if built.path.suffix == ".onnx" and (missing := backend.missing()) is not None:
        raise BackendError(f"{built.path} needs {backend.name}, which does not work here", missing)
    return backend.missing() or backend.unable_to_run()


def _feeds(built: engines.Built, data: str | Path | None, count: int) -> tuple[list[Tensors], list[str]]:
    """Batches of one image, or of as many as the engine is fixed at."""
    if count < 1:
        raise ImageError(f"{count} images are none", "use at least one with --images")
    spec = built.manifest.inputs[0]
    batch = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    tried: Samples
    notes = []
    if data is None:
        tried = Probes.read(built.folder / built.model.reference.file)
        notes.append("on probe inputs of the export; --data DIR takes real images")
    else:
        found = find_images(Path(data))
        if isinstance(spec.shape[1], int):
            check_channels(built.manifest.preprocess, spec.shape[1])
        tried = Pictures(found, found.paths, None, spec, built.manifest.preprocess)
    chunks = islice(tried.chunks(batch), -(-count // batch))
    return [{name: _filled(values, batch) for name, values in chunk.feeds.items()} for chunk in chunks], notes


def _filled(values: NDArray[Any], batch: int) -> NDArray[Any]:
    """The last row repeated where a fixed batch is not full."""
    return values[np.minimum(np.arange(batch), len(values) - 1)]


def _outputs(bench: Bench) -> tuple[OutputGap, ...]:
    """The engine as it is, nothing marked."""
    gaps = {name: Gap() for name in sorted(bench.plain.outputs)}
    backend = backends.get(bench.built.manifest.backend)
    with backend.open(bench.built.path, threads=bench.threads) as runner:
        for feed, wanted in zip(bench.feeds, bench.reference(()), strict=True):
            got = runner.run(feed)
            for name, gap in gaps.items():
                gap.add(got[name], wanted[name])
    return tuple(
        OutputGap(name=name, error=bisection.finite(gap.relative), max_abs=gap.max_abs, non_finite=gap.non_finite)
        for name, gap in gaps.items()
    )


def _walk(bench: Bench, marks: str, limit: float) -> None:
    """The engine's own run, at all tensors, or at blocks and then between the last good one and the first bad one."""
    if marks == "tensors" or (marks == "auto" and not bench.coarse):
        bench.walk(bench.segments)
        return
    blocks = [segment for segment in bench.segments if segment.block is not None or segment.output in bench.plain.outputs]
    bench.walk(blocks)
    bench.walk(_between(bench, blocks, limit))


def _between(bench: Bench, blocks: Sequence[Segment], limit: float) -> list[Segment]:
    """The segments behind the last block that agrees, before the first that does not."""
    bad = next((segment for segment in blocks if _carried(bench, segment) > limit), None)
    if bad is None:
        return []
    places = {segment.output: place for place, segment in enumerate(bench.segments)}
    end = places[bad.output]
    start = max((places[s.output] + 1 for s in blocks if places[s.output] < end), default=0)
    return list(bench.segments[start:end])


def _carried(bench: Bench, segment: Segment) -> float:
    gap = bench.found[segment.output].carried
    return 0.0 if gap is None else gap.relative


def _places(bench: Bench) -> tuple[Place, ...]:
    found = [(segment, bench.found[segment.output]) for segment in bench.segments]
    total = sum(f.outputs.relative**2 for _, f in found if f.outputs is not None)
    return tuple(_place(segment, findings, total) for segment, findings in found)


def _place(segment: Segment, findings: Findings, total: float) -> Place:
    carried, own, outputs = findings.carried, findings.own, findings.outputs
    reached = None if outputs is None else bisection.finite(outputs.relative)
    return Place(
        tensor=segment.output,
        module=segment.module,
        block=segment.block,
        nodes=bisecting.whole(segment.engine),
        reference_nodes=bisecting.whole(segment.reference),
        carried=None if carried is None else bisection.finite(carried.relative),
        own=bisection.finite(own.relative),
        max_abs=own.max_abs,
        non_finite=own.non_finite,
        output_error=reached,
        share=None if reached is None or not total else 100 * reached**2 / total,
    )


def _remarks(unable: str | None, save: str | Path | None, first: Place | None) -> list[str]:
    said = [] if unable is None else [f"the engine was not run ({unable}); each piece of the graph it was built from was, by ONNX Runtime"]
    return [*said, "nothing leaves the reference, so nothing was saved"] if save is not None and first is None else said
