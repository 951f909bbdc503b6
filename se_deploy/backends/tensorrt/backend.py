"""The backends `tensorrt` and `tensorrt-rtx`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from se_deploy import op
from se_deploy.artifacts import FileRef, PluginRef, Precision, Progress
from se_deploy.backends.base import NOTHING_MORE, Made, Runner, Wanted
from se_deploy.backends.plugin import library as plugins
from se_deploy.backends.plugin.library import Library
from se_deploy.backends.tensorrt import gpu, limits, parent
from se_deploy.backends.tensorrt.flavours import RTX, RTX_TARGETS, Flavour
from se_deploy.backends.tensorrt.job import Input, Job
from se_deploy.backends.tensorrt.names import layers_of, plugin_of
from se_deploy.errors import BackendError

Nodes = tuple[tuple[str, str], ...]


class TensorRT:
    """One of the two, by its flavour."""

    suffix = ".plan"
    default_precision: Precision = "fp16"
    signed_int8 = True
    strongly_typed = True

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.name = flavour.name

    def missing(self) -> str | None:
        """Without a GPU TensorRT does nothing; TensorRT-RTX builds."""
        unusable = self.flavour.unusable()
        if unusable is None and not self.flavour.rtx and gpu.first() is None:
            return f"no NVIDIA GPU is here, and {self.flavour.label} builds for the one it sees; tensorrt-rtx builds without"
        return unusable

    def unable_to_run(self) -> str | None:
        """Engines run on a GPU."""
        here = gpu.first()
        if here is None:
            return "no NVIDIA GPU is here; `--backend onnxruntime` builds an engine for this CPU"
        if self.flavour.rtx and here.target not in RTX_TARGETS:
            return f"{RTX.label} has no code for {here.name} ({here.target}); take --backend tensorrt"
        return self.missing()

    def check(self, wanted: Wanted, se_blocks: int) -> None:
        """Refuses what cannot be built here, and a plugin that is not to be had."""
        limits.check(self.flavour, wanted, gpu.first())
        if se_blocks and wanted.plugin != "off":
            plugins.check(wanted.plugin)

    def build(self, model: Path, out: Path, progress: Progress, wanted: Wanted = NOTHING_MORE) -> Made:
        """Builds in a process of its own; the plugin's library and the layers go beside the engine."""
        nodes = _fused(model)
        library = None if wanted.plugin == "off" or not nodes else plugins.chosen(wanted.plugin, progress)
        _check_creators(library, nodes)
        targets = limits.targets(self.flavour, wanted, gpu.first())
        with _parsable(model, self.flavour) as parsed:
            outcome = parent.run(self._job(parsed, out, wanted, library, nodes, targets), self.flavour, progress)
        notes = tuple(f"{self.flavour.label}: {warning}" for warning in outcome.warnings)
        return Made(_kept(library, out, wanted, outcome.plugin_layers), targets, notes)

    def open(self, engine: Path, *, threads: int | None = None, optimised: bool = True) -> Runner:
        """Opens an engine on the first GPU."""
        unable = self.unable_to_run()
        if unable is not None:
            raise BackendError(f"{engine} needs {self.name}, which does not run here", unable)
        from se_deploy.backends.tensorrt.runner import Session

        return Session(engine, self.flavour)

    def versions(self) -> dict[str, str]:
        """TensorRT's, and Polygraphy's."""
        from importlib.metadata import version

        return {self.flavour.name: self.flavour.version() or "", "polygraphy": version("polygraphy")}

    def device(self) -> str:
        """The GPU's name."""
        here = gpu.first()
        return here.name if here else "no GPU"

    def _job(self, model: Path, out: Path, wanted: Wanted, library: Library | None, nodes: Nodes, targets: tuple[str, ...]) -> Job:
        # Without a GPU nothing is timed, and asking for a cache makes TensorRT-RTX look for one.
        cache = None if wanted.cache is None or gpu.first() is None else wanted.cache / f"{self.name}-{self.flavour.version()}.timing"
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
        return Job(
            module=self.flavour.module,
            model=str(model.resolve()),
            shown=str(wanted.about or model),
            out=str(out.resolve()),
            layers=str(layers_of(out).resolve()),
            plugin=str(library.file.resolve()) if library else None,
            nodes=nodes,
            inputs=tuple(Input(spec.name, spec.min, spec.opt, spec.max) for spec in wanted.inputs),
            targets=targets,
            version_compatible=wanted.version_compatible,
            hardware_compatible=wanted.hardware_compatible,
            embed_plugin=wanted.embed_plugin and library is not None,
            refit=wanted.refit,
            timing_cache=str(cache.resolve()) if cache else None,
        )


def _fused(model: Path) -> Nodes:
    """Names and op types of the model's SqueezeExcite nodes."""
    graph = onnx.load(model, load_external_data=False).graph
    return tuple((node.name or node.output[0], node.op_type) for node in graph.node if op.variant_of(node))


def _check_creators(library: Library | None, nodes: Nodes) -> None:
    """An older library is told before TensorRT is started."""
    missing = [kind for kind in dict.fromkeys(kind for _, kind in nodes) if library is not None and kind not in library.creators]
    if library is not None and missing:
        raise BackendError(
            f"the plugin library {library.file} has no creator for {', '.join(missing)}", "it is older: run `se-deploy plugin build`"
        )


@contextmanager
def _parsable(model: Path, flavour: Flavour) -> Iterator[Path]:
    """The file that the parser reads: where it would prefer a function's body to the plugin, a copy without bodies."""
    if not flavour.bodies_taken_out():
        yield model
        return
    proto = onnx.load(model, load_external_data=False)
    kept = [function for function in proto.functions if function.domain != op.DOMAIN]
    del proto.functions[:]
    proto.functions.extend(kept)
    beside = model.with_name(f".{os.getpid()}.{model.name}")  # beside it, for the sake of external weights
    try:
        beside.write_bytes(proto.SerializeToString())
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _kept(library: Library | None, out: Path, wanted: Wanted, layers: int) -> PluginRef | None:
    """The library beside its engine, or inside it."""
    if library is None:
        return None
    file = out if wanted.embed_plugin else plugin_of(out)
    if not wanted.embed_plugin:
        shutil.copyfile(library.file, file)
    reference = FileRef.of(file)
    return PluginRef(file=reference.file, sha256=reference.sha256, version=library.version, layers=layers)
