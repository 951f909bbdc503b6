"""`build`: an exported model to an engine in FP32, FP16 or INT8, with its manifest beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from se_deploy import __version__, artifacts, backends
from se_deploy.artifacts import EngineManifest, FileRef, Halved, Judged, Precision, Progress, Result, Scales, peak_rss_mb, silent
from se_deploy.backends import Backend, Made, Wanted
from se_deploy.backends.profile import profile
from se_deploy.backends.tensorrt.names import layers_of, plugin_of
from se_deploy.errors import ArtifactError, BackendError
from se_deploy.files import replacing_directory
from se_deploy.graph.read import read, write
from se_deploy.quant import scales as measured
from se_deploy.stages.calibrate import calibrate
from se_deploy.stages.steps import asked, exported, fallback, half_checked, halving, paces, suspicious
from se_deploy.stages.steps.apart import Apart, apart
from se_deploy.stages.steps.exported import ENGINES, Exported
from se_deploy.stages.steps.halving import Halving
from se_deploy.stages.steps.typed import with_types
from se_deploy.verify.samples import Pictures


def build(
    model: str | Path | None = None,
    *,
    fp32: bool = False,
    fp16: bool = False,
    int8: bool = False,
    calib: str | Path | None = None,
    scales: str | Path | None = None,
    backend: str = "auto",
    plugin: str | Path = "auto",
    target: Sequence[str] = (),
    shapes: Sequence[str] = (),
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    embed_plugin: bool = False,
    refit: bool = False,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Result:
    """Builds an engine and writes its manifest beside it, as FILE.json; for INT8 the scales too, as FILE.scales.json.

    Args:
        model: a model directory or its model.onnx; None takes the newest export under engines/.
        fp32: build in FP32. At most one of the three; with none, the backend's default is taken (FP32 on ONNX Runtime, else FP16).
        fp16: build in FP16; means, gates, inputs and outputs stay FP32, and so do nodes whose weights or tensors FP16 cannot hold.
        int8: build in INT8. Inside SE blocks everything is FP32; on TensorRT what they
            read and give is int8, and what has no pair is FP16.
        calib: a folder of images to measure the scales on (int8), and to find what overflows or loses its range in FP16.
        scales: a scale file that `calibrate` wrote for this model (int8; for fp16 its ranges tell less than images do).
        backend: "auto" or one of `backends.NAMES`.
        plugin: for TensorRT: "auto" (the library built before, else compiled now), "off" (SE blocks as plain operators), or a path.
        target: GPUs that a TensorRT-RTX engine is for, such as "sm_89"; left out, the one that is here.
        shapes: "NAME:min,opt,max", each a batch size or a whole shape; inputs that are not named keep the model's own.
        version_compatible: TensorRT: an engine that later releases of the same major read.
        hardware_compatible: TensorRT: an engine for every GPU from Ampere on.
        embed_plugin: TensorRT: the plugin's library inside the engine.
        refit: TensorRT: an engine whose weights can be changed.
        max_drop: int8: percentage points of top-1, against the model in FP32, that INT8 may cost. As few layers and SE blocks as possible
            go back to FP16 or FP32 for it. The images' folders have to be the classes.
        min_agreement: int8: the same by the percent of images whose best class stays; at most one of the two.
        data: images that judge the bound; None keeps every fifth of `calib` apart, unused by the calibration.
        output: the engine; default engine.onnx (or what the backend's engines are called) in the model's directory.
        force: overwrite an engine of another backend or precision.
        progress: called at each step, and after each image of a calibration.

    Raises:
        ArtifactError: there is no such model, it has changed since its export, or the engine's name is taken.
        BackendError: the backend is missing or refuses the model or an option, or answers (the FP16 graph's, the engine's) are not finite.
        CheckFailed: TensorRT took the plugin for fewer nodes than the model has SE blocks; or a bound does not hold. Nothing is written.
        ImageError: no usable image, or images that contradict the network's input.
        QuantError: INT8 without images or scales, scales of another model, or a graph that cannot be quantized.
        Contradiction: more than one precision; images and scales, or two bounds; images or scales for FP32, a bound without INT8.
    """
    started = time.perf_counter()
    precision = asked.precision(fp32, fp16, int8, calib, scales)
    bound = asked.bound(max_drop, min_agreement, data, int8)
    engine = _backend(backend)
    source = exported.find(model)
    wanted = Wanted(
        about=source.model,
        inputs=profile(source.manifest.inputs, shapes),
        plugin=str(plugin),
        targets=tuple(target),
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        embed_plugin=embed_plugin,
        refit=refit,
        cache=ENGINES,
    )
    engine.check(wanted, source.manifest.se_blocks)
    images = apart(source, bound, calib, data) if bound is not None else None
    job = _Job(source, engine, precision or engine.default_precision, wanted, images, progress)
    out = Path(output) if output is not None else source.folder / f"engine{engine.suffix}"
    _check_name(out, job, force)
    with replacing_directory(out.parent, manifest=f"{out.name}.json") as folder:
        job.write(out, folder, calib, scales, data)
        written = {file.name for file in folder.iterdir()}
    belonging = (f"{out.name}.scales.json", f"{out.name}.data", layers_of(out).name, plugin_of(out).name)
    for name in set(belonging) - written:  # the engine's that was there before
        out.with_name(name).unlink(missing_ok=True)
    return Result(
        output=out,
        manifest=out.with_name(f"{out.name}.json"),
        backend=engine.name,
        precision=job.precision,
        se_blocks=source.manifest.se_blocks,
        plugin_layers=job.plugin_layers(),
        images=job.images,
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        fallback=job.fallback,
        notes=(*source.notes, *job.notes),
    )


def _backend(name: str) -> Backend:
    engine = backends.auto() if name == "auto" else backends.get(name)
    missing = engine.missing()
    if missing is not None:
        raise BackendError(f"the {engine.name} backend does not work here", missing)
    return engine


def _check_name(out: Path, job: _Job, force: bool) -> None:
    """Refuses to overwrite what is not an engine of this backend and precision, unless forced, and the model itself always."""
    kept = (job.source.model, job.source.folder / job.source.manifest.plain.file, job.source.folder / "manifest.json")
    if out.is_dir() or out.resolve() in [path.resolve() for path in kept]:
        raise ArtifactError(f"{out} is {'a folder' if out.is_dir() else 'part of the exported model'}", "name another file with -o")
    if force or not out.exists():
        return
    try:
        there = artifacts.read(EngineManifest, out.with_name(f"{out.name}.json"))
    except ArtifactError as error:
        raise ArtifactError(f"{out} is there already, without a manifest", "add --force, or name another file with -o") from error
    if (there.backend, there.precision) != (job.engine.name, job.precision):
        raise ArtifactError(
            f"{out} is an engine of {there.backend} in {there.precision}, this one is of {job.engine.name} in {job.precision}",
            "add --force, or name another file with -o",
        )


class _Job:
    """One build: what is decided before anything is written, and then what was learned on the way."""

    def __init__(
        self, source: Exported, engine: Backend, precision: Precision, wanted: Wanted, apart: Apart | None, progress: Progress
    ) -> None:
        self.source, self.engine, self.precision, self.wanted, self.progress = source, engine, precision, wanted, progress
        self.inputs = wanted.inputs
        self.apart = apart
        self.chosen: fallback.Chosen | None = None
        self.scales: Scales | None = None
        self.pictures: Pictures | None = None
        self.halving = Halving()
        self.sqnr_db: float | None = None
        self.made = Made()
        self.notes: list[str] = []

    def write(self, out: Path, folder: Path, calib: str | Path | None, scales: str | Path | None, data: str | Path | None) -> None:
        """Writes the engine, its scales and its manifest in `folder`, from where they go to where `out` is."""
        made, table = folder / out.name, folder / f"{out.name}.scales.json"
        if self.precision == "int8":
            self._measure(table, calib, scales)
        elif scales is not None:
            self._read(Path(scales))
        images = calib if calib is not None else data
        self.notes += suspicious.remarks(self.source, images) if images is not None else []
        if calib is not None:
            self.pictures = halving.calibration(self.source, calib, self.apart.spared if self.apart else ())
        self._halve(folder)
        self._fall_back(folder)
        with self._typed(folder) as typed:
            self.made = self.engine.build(typed, made, self.progress, self.wanted)
        self.notes += self.made.notes
        self._try(made)
        artifacts.write(self._manifest(out, made, FileRef.of(table) if self.precision == "int8" else None), folder / f"{out.name}.json")

    def _measure(self, table: Path, calib: str | Path | None, scales: str | Path | None) -> None:
        if calib is not None:
            spared = self.apart.spared if self.apart else ()
            self.notes += calibrate(self.source.folder, calib=calib, output=table, apart=spared, progress=self.progress).notes
            self.scales = measured.read(table)
            return
        given = Path(scales or "")
        self._read(given)
        shutil.copyfile(given, table)

    def _read(self, given: Path) -> None:
        manifest = self.source.manifest
        self.scales = measured.read(given)
        measured.check(self.scales, given, graph=manifest.model.sha256, preprocess=manifest.preprocess)

    def _halve(self, folder: Path) -> None:
        """Finds what stays in FP32 where the rest is FP16."""
        given = halving.Given(self.source, self.engine, self.precision, self.pictures, self.scales, folder, self.progress)
        self.halving = halving.find(given)
        self.notes += self.halving.notes

    def _fall_back(self, folder: Path) -> None:
        """Chooses what stays in float, where there is a bound."""
        if self.apart is None or self.scales is None:
            return
        plugin, names = self.wanted.plugin != "off", self.halving.names
        job = fallback.Job(self.source, self.engine, plugin, self.scales, self.apart, folder, self.progress, names)
        self.chosen = fallback.choose(job)
        self.notes += self.chosen.notes

    @contextmanager
    def _typed(self, folder: Path) -> Iterator[Path]:
        """The ONNX file whose types are the precision: the export itself, or one written for the time of the build."""
        plain = self.engine.strongly_typed and self.wanted.plugin == "off"
        if self.precision == "fp32" and not self.engine.strongly_typed:
            yield self.source.model
            return
        self.progress(f"write the model in {self.precision}", 0, None)
        scales = self.scales if self.scales is not None and self.precision == "int8" else None
        floats = {fell.name for fell in self.chosen.accuracy.fallback} if self.chosen else ()
        model = read(self.source.model)
        model = with_types(
            model,
            self.precision,
            self.engine,
            scales=scales,
            plugin=not plain,
            notes=self.notes,
            floats=floats,
            wide=self.halving.names,
        )
        if plain:
            self.notes.append(f"no plugin: {self.source.manifest.se_blocks} SE block(s) are built as plain operators")
        if self.pictures is not None and self.halving.applies:
            tried = self.apart.judging if self.apart else self.pictures
            found = half_checked.compare(model, self.precision, self.source, tried, folder, self.progress)
            self.sqnr_db = found.sqnr_db
            self.notes += [found.note] if self.chosen is None else []  # a bound's figures are of more images
        with tempfile.TemporaryDirectory(dir=folder) as place_for_it:
            typed = Path(place_for_it) / "model.onnx"
            write(model, typed)
            del model
            yield typed

    @property
    def images(self) -> int | None:
        """How many images the precision was chosen by, whether here or when the scale file was written."""
        return self.scales.images if self.scales else self.halving.images

    @property
    def fallback(self) -> tuple[str, ...] | None:
        """The nodes that went back: to float from INT8 (None where no bound asked), to FP32 from FP16."""
        if self.precision == "fp16":
            return tuple(kept.name for kept in self.halving.kept)
        return tuple(fell.name for fell in self.chosen.accuracy.fallback) if self.chosen else None

    def _accuracy(self) -> Judged | Halved | None:
        if self.chosen is None:
            return self.halving.record(self.sqnr_db)
        return self.chosen.accuracy.model_copy(update={"in_fp32": self.halving.kept})

    def plugin_layers(self) -> int | None:
        """How many of the engine's layers are the plugin's; None where there are no plugins."""
        if not self.engine.strongly_typed:
            return None
        return self.made.plugin.layers if self.made.plugin else 0

    def _try(self, made: Path) -> None:
        """Runs the engine once, at the sizes it is tuned for: it must answer, and with finite numbers."""
        unable = self.engine.unable_to_run(self.made.targets)
        if unable is not None:
            self.notes.append(f"the engine was not run: {unable}")
            return
        self.progress("try the engine", 0, None)
        rng = np.random.default_rng(0)
        feeds = {spec.name: rng.standard_normal(spec.opt).astype(spec.dtype) for spec in self.inputs}
        with self.engine.open(made) as runner:
            for name, values in runner.run(feeds).items():
                if not np.isfinite(values).all():
                    raise BackendError(f"the {self.precision} engine's output {name} is not finite", "build in another precision")
        if self.precision == "int8" and not self.engine.strongly_typed:
            self.progress("compare INT8 with FP32", 0, None)
            self.notes.append(paces.compared(self.engine, made, self.source.model, feeds))

    def _relative(self, out: Path) -> str:
        """model.onnx as the engine's manifest names it: relative to it, or by name alone where that would tell of the user's machine."""
        here, model = Path.cwd(), self.source.model.resolve()
        inside = out.resolve().is_relative_to(here) and model.is_relative_to(here)
        return os.path.relpath(model, out.resolve().parent) if inside else model.name

    def _manifest(self, out: Path, made: Path, table: FileRef | None) -> EngineManifest:
        model = self.source.manifest
        return EngineManifest(
            name=model.name,
            backend=self.engine.name,
            precision=self.precision,
            engine=FileRef.of(made),
            model=FileRef(file=self._relative(out), sha256=model.model.sha256),
            source=model.source,
            scales=table,
            plugin=self.made.plugin,
            versions={"se-deploy": __version__, "onnx": onnx.__version__, **self.engine.versions()},
            targets=self.made.targets,
            inputs=self.inputs,
            outputs=model.outputs,
            preprocess=model.preprocess,
            labels=model.labels,
            se_blocks=model.se_blocks,
            accuracy=self._accuracy(),
        )
