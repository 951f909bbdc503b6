"""What `build` left: how `bench` finds an engine, its manifest, and the export it was built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest, ModelManifest
from se_deploy.errors import ArtifactError, BackendError
from se_deploy.files import sha256
from se_deploy.stages.steps.exported import ENGINES

#: An engine's suffix -> what such engines are called in a sentence.
KINDS = {".plan": "TensorRT", ".onnx": "ONNX Runtime"}


@dataclass(frozen=True)
class Built:
    """An engine whose file is the one its manifest describes, and the export that it was built from."""

    path: Path
    manifest: EngineManifest
    folder: Path
    model: ModelManifest
    notes: tuple[str, ...] = ()

    def size_bytes(self) -> int:
        """Of the engine, external weights included."""
        beside = self.path.with_name(f"{self.path.name}.data")
        return self.path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def find(engine: str | Path | None) -> Built:
    """The engine that ENGINE names: a file, a name to look for under engines/, or (None) the newest there.

    Raises:
        ArtifactError: there is none, or it, its manifest and its export do not belong together.
        BackendError: only an engine of another backend is there.
    """
    path, manifest, notes = described(engine)
    folder, model = _export(path, manifest)
    return Built(path, manifest, folder, model, notes)


def described(engine: str | Path | None, command: str = "bench") -> tuple[Path, EngineManifest, tuple[str, ...]]:
    """The engine that ENGINE names and its manifest, without the export; `command` is the one that a remedy names.

    Raises:
        ArtifactError: there is none, or it and its manifest do not belong together.
        BackendError: only an engine of another backend is there.
    """
    path, notes = _file(engine, command)
    beside = manifest_of(path)
    if not beside.is_file():
        raise ArtifactError(f"{path} has no manifest {beside.name} beside it", "make an engine of it with `se-deploy build`")
    manifest = artifacts.read(EngineManifest, beside)
    if sha256(path) != manifest.engine.sha256:
        raise ArtifactError(f"{path} is not the file that {beside} describes: its SHA-256 differs", "build it again")
    return path, manifest, notes


def find_model(engine: str | Path | None) -> Built | None:
    """An export's model.onnx as the engine that ONNX Runtime makes of it in FP32; None where ENGINE names something else."""
    path, beside = Path(engine or ""), Path(engine or "").parent / "manifest.json"
    if engine is None or not path.is_file() or manifest_of(path).is_file() or not beside.is_file():
        return None
    model = artifacts.read(ModelManifest, beside)
    if path.name != model.model.file or sha256(path) != model.model.sha256:
        return None
    shared = {key: getattr(model, key) for key in ("name", "model", "source", "inputs", "outputs", "preprocess", "labels", "se_blocks")}
    manifest = EngineManifest(
        **shared,
        backend="onnxruntime",
        precision="fp32",
        engine=model.model,
        scales=None,
        plugin=None,
        versions=model.versions,
        targets=(),
        accuracy=None,
    )
    return Built(path, manifest, path.parent, model)


def manifest_of(engine: Path) -> Path:
    """Where an engine's manifest lies: FILE.json."""
    return engine.with_name(f"{engine.name}.json")


def _file(engine: str | Path | None, command: str) -> tuple[Path, tuple[str, ...]]:
    """The engine's file, and remarks on how it was chosen."""
    if engine is None:
        found = _newest("*")
        if found is None:
            raise ArtifactError("no engine under engines/", "run `se-deploy build` first, or name an engine")
        return found, (f"taking the newest engine, {found}",)
    path = Path(engine)
    if path.is_file():
        return path, ()
    if path.name == str(engine) and (found := _newest(path.name)):
        return found, (f"no {engine} here, taking {found}",)
    _refuse_other_backend(path, command)
    raise ArtifactError(f"no engine {engine}", "run `se-deploy build` first, or name one that is there")


def _refuse_other_backend(path: Path, command: str) -> None:
    for suffix, kind in KINDS.items():
        other = path.with_suffix(suffix)
        found = other if other.is_file() else _newest(other.name)
        if suffix != path.suffix and found is not None and manifest_of(found).is_file():
            raise BackendError(f"there is no {path}, only an engine for {kind}, {found}", f"run `se-deploy {command} {found}`")


def _newest(name: str) -> Path | None:
    """The newest engines/*/NAME that has a manifest beside it."""
    files = [path.with_suffix("") for path in ENGINES.glob(f"*/{name}.json")]
    engines = [path for path in files if path.suffix in KINDS and path.is_file()]
    return max(engines, key=lambda path: path.stat().st_mtime_ns, default=None)


def _export(engine: Path, manifest: EngineManifest) -> tuple[Path, ModelManifest]:
    """The export whose model.onnx the engine was built from: beside it, else under engines/."""
    beside = engine.parent / "manifest.json"
    for path in (beside, *sorted(ENGINES.glob("*/manifest.json"))):
        if path.is_file() and (model := artifacts.read(ModelManifest, path)).model.sha256 == manifest.model.sha256:
            return path.parent, model
    if beside.is_file():
        raise ArtifactError(f"{engine} was built from another {manifest.model.file} than the one that lies beside it now", "build it again")
    raise ArtifactError(
        f"the export that {engine} was built from is neither beside it nor under engines/",
        "put the engine into its model's directory, or export and build again",
    )
