"""A PyTorch network -> a plain graph that is proven to give its answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from se_deploy.artifacts import Progress, SourceRef
from se_deploy.errors import ExportError
from se_deploy.networks import autograd, preprocessing
from se_deploy.networks.classes import check_labels
from se_deploy.networks.exporting import DEFAULT_OPSET
from se_deploy.networks.load import load
from se_deploy.networks.reference import answer, check_finite
from se_deploy.networks.weights import save_weights
from se_deploy.stages.steps.attempts import proven
from se_deploy.stages.steps.job import Job
from se_deploy.stages.steps.options import Options
from se_deploy.stages.steps.place import PLAIN, WEIGHTS, Place
from se_deploy.stages.steps.plain import Plain, Questions, Tensors, cut, joined, parts
from se_deploy.verify.probes import count_for, probes


def prepare(place: Place, options: Options, progress: Progress) -> Job:
    """Loads the source, and settles its size and preprocessing; writes nothing.

    Raises:
        LoadError: it cannot be loaded.
        ImageError: its preprocessing contradicts its input.
        ExportError: --input has another number of channels than the network, or no exporter writes the opset.
    """
    asked = {"arch": options.arch, "num_classes": options.num_classes}
    network = load(place.source, **asked, trust=options.trust, random=options.random, progress=progress)  # type: ignore[arg-type]
    size = options.size or network.input_size
    if size[0] != network.input_size[0]:
        raise ExportError(f"--input has {size[0]} channel(s), the network takes {network.input_size[0]}", "correct --input")
    fixed = options.spatial != "dynamic"
    how, notes = preprocessing.settle(options.wish, network.preprocess, network.input_size[1:], size, fixed)
    return Job(place, options, network, size, options.opset or DEFAULT_OPSET, how, (*network.notes, *notes), progress)


def trace(job: Job, folder: Path, force: bool) -> Plain:
    """Asks PyTorch, exports, and proves the graph equal; leaves weights.safetensors and plain.onnx in `folder`.

    Raises:
        ExportError: PyTorch's answers are not finite, or no exporter gives a graph that equals them.
        ArtifactError: the place holds the export of other weights.
    """
    source = _saved(job, folder, force)
    with autograd.recorded(job.network.module) as found:
        job, questions = _asked(job)
    labels = _labels(job, questions)
    with autograd.replaced(found) as swaps:
        export = proven(job, questions, folder / PLAIN, found.unknown())
    return Plain(
        model=export.model,
        exporter=export.attempt.exporter,
        batch=export.attempt.batch,
        questions=questions,
        answers=export.answers,
        sides=job.sides,
        preprocess=job.preprocess,
        labels=labels,
        source=source,
        weights=job.network.arch is not None,
        notes=(*job.notes, *swaps, *export.notes),
    )


def _saved(job: Job, folder: Path, force: bool) -> SourceRef:
    """Writes the weights, where the network can be built again; they are also what a library's network is known by."""
    network, path = job.network, folder / WEIGHTS
    if network.arch is not None:
        job.progress("write the weights", 0, None)
        save_weights(network.module, network.arch, network.kwargs, path)
    source = job.place.reference(network.arch, path)
    job.place.check_same(source, force)
    return source


def _asked(job: Job) -> tuple[Job, Questions]:
    """PyTorch's answers; a network that takes one image at a time (many a .pt2 does) has its batch fixed at 1 unless the user says more."""
    try:
        return job, _questions(job)
    except ExportError as error:
        if job.options.batch is not None:
            raise
        alone = replace(job, options=replace(job.options, batch=1), notes=(*job.notes, f"the batch is fixed at 1: {error.message}"))
        try:
            return alone, _questions(alone)
        except ExportError:
            raise error from None


def _questions(job: Job) -> Questions:
    """PyTorch's answers to the probes and to images of other sizes."""
    images = probes(count_for(job.batch), job.size, job.preprocess)
    odd = [probes(job.batch or 2, (job.size[0], *sides), job.preprocess) for sides in job.odd]
    batches = [*cut(images, parts(len(images), job.batch)), *odd]
    answers: list[Tensors] = []
    for part in batches:
        job.progress("ask PyTorch", len(answers), len(batches))
        answers.append(answer(job.network.module, part))
        check_finite(job.network.module, part, answers[-1])
    job.progress("ask PyTorch", len(batches), len(batches))
    count = len(batches) - len(odd)
    return Questions(images, joined(answers[:count]), odd, answers[count:])


def _labels(job: Job, questions: Questions) -> tuple[str, ...] | None:
    if job.options.labels is None:
        return job.network.labels
    first = next(iter(questions.rows.values()))
    check_labels(job.options.labels, first.shape[1] if first.ndim == 2 else None, "--labels")
    return job.options.labels
