"""What `export` left: how `calibrate` and `build` find it and know that it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from se_deploy import artifacts
from se_deploy.artifacts import ModelManifest
from se_deploy.errors import ArtifactError
from se_deploy.files import sha256

#: Where `export` puts models when no place is named.
ENGINES = Path("engines")


@dataclass(frozen=True)
class Exported:
    """A model directory whose model.onnx is the one its manifest describes; `notes` says which was taken where none was named."""

    folder: Path
    manifest: ModelManifest
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The fused ONNX file that every later step reads."""
        return self.folder / self.manifest.model.file


def find(model: str | Path | None) -> Exported:
    """The export that MODEL names: a directory, its model.onnx, or (None) the newest under engines/.

    Raises:
        ArtifactError: there is none, it has no manifest, or model.onnx is not what the manifest describes.
    """
    notes: tuple[str, ...] = ()
    if model is None:
        folder = _newest()
        notes = (f"taking the newest export, {folder}",)
    else:
        path = Path(model)
        if not path.exists():
            raise ArtifactError(f"no model {path}", "run `se-deploy export SOURCE` first")
        folder = path if path.is_dir() else path.parent
    manifest = _manifest(folder)
    found = Exported(folder, manifest, notes)
    if model is not None and Path(model).is_file() and Path(model).name != manifest.model.file:
        raise ArtifactError(f"{model} is not the model that {folder}/manifest.json describes", f"name {found.model}, or export {model}")
    if not found.model.is_file():
        raise ArtifactError(f"{found.model} is missing", "export the model again")
    if sha256(found.model) != manifest.model.sha256:
        raise ArtifactError(f"{found.model} has changed since {folder}/manifest.json was written", "export the model again")
    return found


def _newest() -> Path:
    manifests = list(ENGINES.glob("*/manifest.json"))
    if not manifests:
        raise ArtifactError("no export under engines/", "run `se-deploy export SOURCE` first, or name a model")
    return max(manifests, key=lambda path: path.stat().st_mtime_ns).parent


def _manifest(folder: Path) -> ModelManifest:
    path = folder / "manifest.json"
    if not path.is_file():
        raise ArtifactError(f"{folder} has no manifest.json, so nothing says how images are prepared", "run `se-deploy export` first")
    return artifacts.read(ModelManifest, path)
