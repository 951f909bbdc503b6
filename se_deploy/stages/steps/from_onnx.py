"""An .onnx file -> a plain graph that is proven to run as it says; its own FP32 answers are the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from onnx import ModelProto

from se_deploy import op
from se_deploy.artifacts import Preprocess, Progress, SourceRef
from se_deploy.errors import BackendError, ExportError
from se_deploy.graph import opset, ports
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import read, write
from se_deploy.graph.unfuse import unfuse
from se_deploy.networks import preprocessing
from se_deploy.networks.classes import check_labels
from se_deploy.stages.steps.options import Options
from se_deploy.stages.steps.place import PLAIN, Place
from se_deploy.stages.steps.plain import Batch, Plain, Questions, Tensors, ask, compare, cut, joined, odd_sides, parts, shapes
from se_deploy.verify.equal import EXPORTED
from se_deploy.verify.probes import count_for, probes

#: Where a graph leaves height and width open and nobody says more.
USUAL_SIDE = 224

_LEAVE = "leave {} out, or export the checkpoint"
_NAMES = ("batch", "channels", "height", "width")


@dataclass(frozen=True)
class Graph:
    """A graph that was read; `shape` is its input's, as it is to be declared, and `size` the (C, H, W) that it is run at."""

    place: Place
    options: Options
    model: ModelProto
    shape: ports.Shape
    size: tuple[int, int, int]
    preprocess: Preprocess
    notes: tuple[str, ...]
    progress: Progress

    @property
    def batch(self) -> int | None:
        """The batch that it is fixed at."""
        return self.shape[0] if isinstance(self.shape[0], int) else None

    @property
    def odd(self) -> list[tuple[int, int]]:
        """Other heights and widths, where any of them is open."""
        if all(isinstance(side, int) for side in self.shape[2:]):
            return []
        height, width = self.shape[2:]
        return [
            (height if isinstance(height, int) else other[0], width if isinstance(width, int) else other[1])
            for other in odd_sides(*self.size[1:])
        ]


def prepare(place: Place, options: Options, progress: Progress) -> Graph:
    """Reads the file, and settles its size and preprocessing; writes nothing.

    Raises:
        GraphError: it cannot be read, or does not take images alone.
        ImageError: its preprocessing contradicts its input.
        ExportError: an option contradicts the file.
    """
    _check_options(options)
    progress(f"read {place.source}", 0, None)
    model = read(Path(place.source))
    if any(op.variant_of(node) for node in model.graph.node):
        model = unfuse(model)
    name_by_module(model)
    value = ports.image_input(model)
    _check_input(options, value.name, model)
    if options.opset not in (None, op.opset_of(model)):
        model = opset.raised(model, options.opset)
        value = ports.image_input(model)
    size, notes = _size(options, ports.declared(value))
    shape = _shape(options, ports.declared(value), size)
    fixed = all(isinstance(side, int) for side in shape[2:])
    how, said = preprocessing.settle(options.wish, None, size[1:], size, fixed)
    return Graph(place, options, model, shape, size, how, (*notes, *said), progress)


def _check_options(options: Options) -> None:
    given = {"--arch": options.arch, "--num-classes": options.num_classes, "--random": options.random or None}
    given["--exporter"] = None if options.exporter == "auto" else options.exporter
    useless = [name for name, value in given.items() if value is not None]
    if useless:
        raise ExportError(f"{', '.join(useless)} say nothing about an .onnx file", "leave them out, or name a checkpoint")


def _check_input(options: Options, name: str, model: ModelProto) -> None:
    if options.name not in (None, name):
        raise ExportError(f"--input names {options.name}, the graph's input is {name}", "correct --input")
    has = op.opset_of(model)
    if options.opset is not None and options.opset < has:
        raise ExportError(f"the file has opset {has}, --opset says {options.opset}", "leave --opset out, or export the checkpoint")


def _size(options: Options, declared: ports.Shape) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """(C, H, W), and a note where it is our own choice."""
    given = options.size or tuple(USUAL_SIDE if isinstance(side, str) else side for side in declared[1:])
    fits = all(isinstance(want, str) or want == size for want, size in zip(declared[1:], given, strict=True))
    if not fits:
        said, takes = ("x".join(map(str, sizes)) for sizes in (given, declared[1:]))
        raise ExportError(f"--input says {said}, the graph takes {takes}", "correct --input")
    guessed = options.size is None and any(isinstance(side, str) for side in declared[2:])
    text = f"the graph leaves its height and width open: checked at {given[1]}x{given[2]} (--input NAME=1xCxHxW for others)"
    return (given[0], given[1], given[2]), (text,) if guessed else ()


def _shape(options: Options, declared: ports.Shape, size: tuple[int, int, int]) -> ports.Shape:
    """The input's shape as the user wants it.

    Raises:
        ExportError: the file has fixed what is to be dynamic, or has fixed it otherwise.
    """
    batch, sides = declared[0], declared[2:]
    if options.batch is not None and isinstance(batch, int) and options.batch != batch:
        raise ExportError(f"the graph fixes its batch at {batch}, --batch says {options.batch}", _LEAVE.format("--batch"))
    if options.spatial == "dynamic" and not any(isinstance(side, str) for side in sides):
        raise ExportError("the graph fixes its height and width, --spatial says dynamic", _LEAVE.format("--spatial"))
    if isinstance(options.batch, int):
        batch = options.batch
    if options.spatial == "fixed":
        sides = size[1:]
    shape = (batch, size[0], *sides)
    return tuple(name if isinstance(part, str) and part == "?" else part for part, name in zip(shape, _NAMES, strict=True))


def trace(graph: Graph, folder: Path, force: bool) -> Plain:
    """Runs the graph and leaves it as plain.onnx in `folder`; what it declares dynamic and does not run so is fixed, and said.

    Raises:
        ExportError: it does not run, its answers are not finite, or it does not do what the user asked for.
        ArtifactError: the place holds the export of another file.
    """
    source = graph.place.reference(None, None)
    graph.place.check_same(source, force)
    failures: list[str] = []
    for way in _ways(graph):
        try:
            questions, answers, remarks = _tried(way, folder / PLAIN)
        except (ExportError, BackendError) as error:
            failures.append(error.message)
        else:
            return _plain(way, questions, answers, source, (*graph.notes, *_fixed(graph, way, failures), *remarks))
    raise ExportError(f"{graph.place.source}: {failures[0]}", "correct the graph, or fix its sizes with --batch and --spatial fixed")


def _ways(graph: Graph) -> Iterator[Graph]:
    """The graph as it declares itself; then, where the user leaves it open, with less and less dynamic."""
    batches = [graph.shape[:1]] + [(1,)] * (graph.batch is None and graph.options.batch is None)
    sides = [graph.shape[2:]] + [graph.size[1:]] * (bool(graph.odd) and graph.options.spatial is None)
    for side in sides:
        for batch in batches:
            yield replace(graph, shape=(*batch, graph.size[0], *side))


def _tried(graph: Graph, file: Path) -> tuple[Questions, Sequence[Tensors], tuple[str, ...]]:
    """What the graph is asked and answers, and remarks; where its batch is dynamic, image by image and then in batches: equal."""
    value = ports.image_input(graph.model)
    kind = ports.dtype(value)
    images = probes(count_for(graph.batch), graph.size, graph.preprocess).astype(kind)
    odd = [probes(graph.batch or 2, (graph.size[0], *sides), graph.preprocess).astype(kind) for sides in graph.odd]
    single = cut(images, parts(len(images), graph.batch or 1))
    ports.settle(graph.model, graph.shape)
    write(graph.model, file)
    answers = ask(file, value.name, [*single, *odd], "ask the graph", graph.progress)
    _check_rows(answers, [*single, *odd])
    questions = Questions(images, joined(answers[: len(single)]), odd, answers[len(single) :])
    remarks: tuple[str, ...] = ()
    if graph.batch is None:

        def again(rows: Batch) -> Tensors:
            return joined(ask(file, value.name, cut(rows, (1,) * len(rows)), "ask the graph", graph.progress))

        batches = questions.batches(None)
        answers = ask(file, value.name, batches, "ask the graph in batches", graph.progress)
        remarks = compare("batches beside single images", batches, answers, questions.wanted(None), EXPORTED, again)
    if graph.options.opset is not None:
        remarks = (*remarks, *_as_before(graph, questions))
    ports.settle(graph.model, graph.shape, shapes(answers))
    write(graph.model, file)
    return questions, answers, remarks


def _as_before(graph: Graph, questions: Questions) -> tuple[str, ...]:
    """Proves that a converted graph answers as the file did; remarks."""
    file, name = Path(graph.place.source), ports.image_input(graph.model).name

    def asked(rows: Batch) -> Tensors:
        return joined(ask(file, name, cut(rows, parts(len(rows), graph.batch or 1)), "ask the file as it is", graph.progress))

    who = f"opset {graph.options.opset} beside the file's own"
    return compare(who, [questions.probes], [questions.rows], [asked(questions.probes)], EXPORTED, asked)


def _check_rows(answers: Sequence[Tensors], batches: Sequence[Batch]) -> None:
    for images, answer in zip(batches, answers, strict=True):
        for name, values in answer.items():
            if values.ndim == 0 or len(values) != len(images):
                raise ExportError(f"{name} is {values.shape} for {len(images)} image(s)", "")
            if not np.isfinite(values).all():
                raise ExportError(f"its own answer has NaN or infinity in {name}", "")


def _plain(graph: Graph, questions: Questions, answers: Sequence[Tensors], source: SourceRef, notes: tuple[str, ...]) -> Plain:
    if graph.options.labels is not None:
        first = next(iter(questions.rows.values()))
        check_labels(graph.options.labels, first.shape[1] if first.ndim == 2 else None, "--labels")
    usual = graph.size[1:]
    low, high = graph.odd or (usual, usual)
    return Plain(
        model=graph.model,
        exporter="onnx",
        batch=graph.batch,
        questions=questions,
        answers=answers,
        sides=(low, usual, high),
        preprocess=graph.preprocess,
        labels=graph.options.labels,
        source=source,
        weights=False,
        notes=notes,
    )


def _fixed(graph: Graph, way: Graph, failures: list[str]) -> tuple[str, ...]:
    """Says what the file declares dynamic and does not run so."""
    if not failures:
        return ()
    batch = [f"the batch at {way.batch}"] if way.batch != graph.batch else []
    sides = [f"height and width at {way.size[1]}x{way.size[2]}"] if way.odd != graph.odd else []
    return (f"fixed {' and '.join(batch + sides)}, for it does not run as it declares: {failures[0]}",)
