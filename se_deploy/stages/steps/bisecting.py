"""An engine held against the plain graph tensor by tensor, a slice of the tensors in memory at a time."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from se_deploy import backends
from se_deploy.artifacts import Progress
from se_deploy.backends import Runner, Wanted
from se_deploy.errors import BackendError
from se_deploy.graph.cut import cut, disturbed, error_input, tapped
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import read, write
from se_deploy.graph.seams import with_seams
from se_deploy.graph.segments import Piece, Segment, blocks_of, regrown, segments
from se_deploy.graph.view import View
from se_deploy.stages.steps.engines import Built
from se_deploy.stages.steps.exported import ENGINES
from se_deploy.stages.steps.typed import typed
from se_deploy.verify.bisection import Gap

Tensors = dict[str, NDArray[Any]]

#: Bytes of one graph's tensors that are held at a time, and the most that a plan is marked with at once: marks break fusions.
SLICE, MARKS = 64 * 2**20, 16
#: A piece that is closer to the reference than this only rounds: no error worth following to the outputs.
ROUNDING = 16 * float(np.finfo(np.float32).eps)


@dataclass
class Findings:
    """What is known of one segment; `outputs` adds up what its error alone does to the network's outputs."""

    carried: Gap | None = None
    own: Gap = field(default_factory=Gap)
    outputs: Gap | None = None


@dataclass
class Bench:
    """An engine's typed graph and the plain one, opened piece by piece.

    `feeds` are batches of one image (or of the engine's fixed batch). The graphs' weights lie in files in `folder`, once, whatever is
    made of the graphs; so no piece copies more than its own.
    """

    built: Built
    engine: View
    plain: View
    segments: tuple[Segment, ...]
    feeds: Sequence[Tensors]
    folder: Path
    threads: int | None
    progress: Progress
    found: dict[str, Findings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = {segment.output: Findings() for segment in self.segments}

    @property
    def coarse(self) -> bool:
        """Whether marks are few: an engine that is a plan is built anew for each slice of them, and not fused across them."""
        return self.built.path.suffix != ".onnx"

    def slices(self, chosen: Sequence[Segment], most: int | None = None) -> list[list[Segment]]:
        """Neighbours whose tensors fit into memory together."""
        found: list[list[Segment]] = [[]]
        held: set[str] = set()
        for segment in chosen:
            needed = {segment.output, *segment.engine.inputs, *segment.reference.inputs}
            full = sum(self._bytes(name) for name in held | needed) > SLICE or len(found[-1]) == most
            if full and found[-1]:
                found.append([])
                held = set()
            found[-1].append(segment)
            held |= needed
        return [part for part in found if part]

    def _bytes(self, name: str) -> int:
        """Of a tensor in FP32; a size that is not known counts as the image's own."""
        image = next(iter(self.feeds[0].values())).shape
        shape = self.plain.shape(name) or image
        sizes = [size if isinstance(size, int) else image[axis] if axis < len(image) else 1 for axis, size in enumerate(shape)]
        return 4 * math.prod(sizes)

    @contextmanager
    def opened(self, model: ModelProto, *, optimised: bool = True) -> Iterator[Runner]:
        """A model in ONNX Runtime."""
        with (
            self._written(model) as path,
            backends.get("onnxruntime").open(path, threads=self.threads, optimised=optimised) as runner,
        ):
            yield runner

    @contextmanager
    def _written(self, model: ModelProto) -> Iterator[Path]:
        """The model as a file beside its weights."""
        handle, name = tempfile.mkstemp(suffix=".onnx", dir=self.folder)
        with open(handle, "wb") as file:
            file.write(model.SerializeToString())
        try:
            yield Path(name)
        finally:
            Path(name).unlink()

    @contextmanager
    def marked(self, names: Sequence[str]) -> Iterator[Runner]:
        """The engine with more outputs, opened."""
        backend = backends.get(self.built.manifest.backend)
        with self.built_with(names) as engine, backend.open(engine, threads=self.threads) as runner:
            yield runner

    @contextmanager
    def built_with(self, names: Sequence[str]) -> Iterator[Path]:
        """The engine with more outputs, built by its own backend."""
        backend = backends.get(self.built.manifest.backend)
        with self._written(tapped(self.engine, names)) as model, tempfile.TemporaryDirectory(dir=self.folder) as folder:
            engine = model
            if self.coarse:
                engine = Path(folder) / f"engine{backend.suffix}"
                backend.build(model, engine, self.progress, self._wanted())
            yield engine

    def _wanted(self) -> Wanted:
        """How the engine was built."""
        manifest = self.built.manifest
        plugin = "off"
        if manifest.plugin is not None:
            library = self.built.path.with_name(manifest.plugin.file)
            plugin = str(library) if library.is_file() else "auto"
        return Wanted(inputs=manifest.inputs, plugin=plugin, targets=manifest.targets, cache=ENGINES)

    def reference(self, names: Sequence[str]) -> Iterator[Tensors]:
        """The plain graph's tensors (and its outputs and inputs) for each batch, by name."""
        with self.opened(tapped(self.plain, names), optimised=False) as runner:
            for feed in self.feeds:
                yield {**runner.run(feed), **feed}

    def walk(self, chosen: Sequence[Segment]) -> None:
        """The engine's own run: what each marked tensor carries."""
        parts = self.slices(chosen, MARKS if self.coarse else None)
        for number, part in enumerate(parts):
            self.progress("walk through the engine", number, len(parts))
            names = [segment.output for segment in part]
            with self.marked(names) as runner:
                for feed, wanted in zip(self.feeds, self.reference(names), strict=True):
                    got = runner.run(feed)
                    for name in names:
                        gap = self.found[name].carried or Gap()
                        gap.add(got[name], wanted[name])
                        self.found[name].carried = gap

    def replay(self, chosen: Sequence[Segment], shares: bool) -> None:
        """Each piece alone, fed with the reference's tensors; with `shares` its error is followed to the outputs of the FP32 network."""
        parts = self.slices(chosen)
        with self._follower(shares) as follow:
            for number, part in enumerate(parts):
                self.progress("run each piece on the reference's tensors", number, len(parts))
                names = {name for s in part for name in (s.output, *s.engine.inputs)}
                with ExitStack() as stack:
                    models = [(segment, cut(self.engine, segment.engine, [segment.output])) for segment in part]
                    runners = [(segment, stack.enter_context(self.opened(model))) for segment, model in models]
                    for feed, wanted in zip(self.feeds, self.reference(sorted(names)), strict=True):
                        for segment, runner in runners:
                            self._piece(segment, runner, wanted, feed, follow)

    def alone(self, chosen: Sequence[Segment]) -> list[Gap]:
        """How far each of a few pieces is from the reference on the reference's tensors; nothing is written down."""
        gaps = [Gap() for _ in chosen]
        with ExitStack() as stack:
            runners = [stack.enter_context(self.opened(cut(self.engine, s.engine, [s.output]))) for s in chosen]
            names = sorted({name for s in chosen for name in (s.output, *s.engine.inputs)})
            for wanted in self.reference(names):
                for segment, runner, gap in zip(chosen, runners, gaps, strict=True):
                    gap.add(runner.run(fed(runner, wanted))[segment.output], wanted[segment.output])
        return gaps

    def without(self, gone: Collection[str]) -> None:
        """Takes tensors for the engine's own affair: pieces go across them, and what was found of pieces is forgotten."""
        shared = {segment.output for segment in self.segments} - set(gone)
        self.segments = tuple(regrown(s, self.engine, self.plain, shared) for s in self.segments if s.output in shared)
        self.found = {s.output: Findings(carried=self.found[s.output].carried) for s in self.segments}

    def _piece(self, segment: Segment, runner: Runner, wanted: Tensors, feed: Tensors, follow: _Follow | None) -> None:
        got = runner.run(fed(runner, wanted))[segment.output]
        theirs, seen = wanted[segment.output], Gap()
        seen.add(got, theirs)
        found = self.found[segment.output]
        found.own.add(got, theirs)
        if follow is not None and math.isfinite(seen.relative) and seen.relative > ROUNDING:
            found.outputs = found.outputs or Gap()
            follow.add(segment.output, got.astype(theirs.dtype) - theirs, feed, found.outputs)

    @contextmanager
    def _follower(self, shares: bool) -> Iterator[_Follow | None]:
        if not shares:
            yield None
            return
        names = [segment.output for segment in self.segments]
        with self.opened(disturbed(self.plain, names), optimised=False) as runner:
            yield _Follow(runner, [*self.plain.outputs])


@dataclass
class _Follow:
    """The FP32 network with an error added to one tensor."""

    runner: Runner
    outputs: Sequence[str]
    _still: dict[int, Tensors] = field(default_factory=dict)

    def add(self, tensor: str, error: NDArray[Any], feed: Tensors, seen: Gap) -> None:
        """Adds what the error does to the outputs."""
        if id(feed) not in self._still:
            self._still[id(feed)] = self._run(feed, {})
        still, moved = self._still[id(feed)], self._run(feed, {error_input(tensor): error})
        for name in self.outputs:
            seen.add(moved[name], still[name])

    def _run(self, feed: Tensors, errors: Tensors) -> Tensors:
        zeros = {p.name: np.zeros((), p.dtype) for p in self.runner.inputs if p.name not in feed and p.name not in errors}
        return self.runner.run({**feed, **zeros, **errors})


def fed(runner: Runner, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """A piece's inputs, in the types that it takes."""
    return {port.name: tensors[port.name].astype(port.dtype, copy=False) for port in runner.inputs}


@contextmanager
def opened(built: Built, feeds: Sequence[Tensors], threads: int | None, progress: Progress) -> Iterator[Bench]:
    """The bench of an engine, in a temporary folder.

    Raises:
        ArtifactError: what the engine was built from is gone.
        BackendError: there is no tensor to compare.
    """
    progress("read both graphs", 0, None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = read(built.folder / built.model.plain.file)
        name_by_module(plain)
        blocks = blocks_of(plain)
        reference = _light(plain, folder / "plain.onnx")
        del plain
        graph = typed(built)
        name_by_module(graph)
        with_seams(graph, reference.producer.keys())
        engine = _light(graph, folder / "engine.onnx")
        del graph
        found = segments(engine, reference, blocks)
        if not found:
            raise BackendError(f"{built.path} has no tensor in common with plain.onnx", "build it again from this export")
        yield Bench(built, engine, reference, found, feeds, folder, threads, progress)


def _light(model: ModelProto, path: Path) -> View:
    """The model with its weights in a file of their own."""
    write(model, path, limit=0)
    return View(onnx.load_model(path, load_external_data=False))


def whole(piece: Piece) -> tuple[str, ...]:
    """The names of a piece's nodes."""
    return tuple(node.name for node in piece.nodes)
