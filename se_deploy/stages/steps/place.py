"""Where `export` puts a model, what it calls it, and what it will not overwrite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from se_deploy import artifacts
from se_deploy.artifacts import ModelManifest, SourceRef
from se_deploy.errors import ArtifactError
from se_deploy.files import sha256
from se_deploy.networks.pretrained import is_name
from se_deploy.stages.steps.exported import ENGINES

MODEL, PLAIN, WEIGHTS, REFERENCE, MANIFEST = "model.onnx", "plain.onnx", "weights.safetensors", "reference.npz", "manifest.json"

_ENDINGS = {".pt", ".pth", ".ckpt", ".tar", ".safetensors", ".pt2", ".onnx", ".bin", ".pkl", ".torchscript", ".ts", ".jit"}
_HINT = "add --force, or choose another place with -o"


@dataclass(frozen=True)
class Place:
    """A source and the folder that its export goes to."""

    source: str
    folder: Path

    @classmethod
    def of(cls, source: str, output: str | Path | None) -> Place:
        """`engines/<stem>` where no folder is named."""
        return cls(source, Path(output) if output is not None else ENGINES / stem(source))

    @property
    def kind(self) -> Literal["library", "onnx", "file"]:
        """What the source is."""
        if is_name(self.source):
            return "library"
        return "onnx" if self.source.lower().endswith(".onnx") else "file"

    @property
    def name(self) -> str:
        """The model's name: its folder's."""
        return self.folder.resolve().name

    def reference(self, arch: str | None, weights: Path | None) -> SourceRef:
        """The source for the manifest; a library's network is known by its weights."""
        if self.kind == "library":
            assert weights is not None  # a library's network can always be built again
            return SourceRef(file=self.source, sha256=sha256(weights), arch=arch)
        return SourceRef(file=Path(self.source).name, sha256=sha256(Path(self.source)), arch=arch)

    def check(self, force: bool) -> None:
        """Refuses, before any work, to overwrite the source itself, a file, or (unless forced) the export of something else.

        Raises:
            ArtifactError: names what is there.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ArtifactError(f"{self.folder} is a file", "name a folder with -o")
        ours = [(self.folder / name).resolve() for name in (MODEL, PLAIN, WEIGHTS)]
        if self.kind != "library" and Path(self.source).resolve() in ours:
            raise ArtifactError(f"the export would overwrite its own source {self.source}", "choose another place with -o")
        there = None if force else self._there()
        if there is None:
            return
        if there.file != (self.source if self.kind == "library" else Path(self.source).name):
            raise ArtifactError(f"{self.folder} holds the export of {there.file}", _HINT)
        if self.kind != "library" and Path(self.source).is_file():
            self.check_same(self.reference(None, None), force)

    def check_same(self, source: SourceRef, force: bool) -> None:
        """Refuses to overwrite the export of a file or a network that has the same name and other contents.

        Raises:
            ArtifactError: they differ, and it was not forced.
        """
        there = None if force else self._there()
        if there is not None and there.sha256 != source.sha256:
            raise ArtifactError(f"{self.folder} holds the export of another {there.file}, with other contents", _HINT)

    def _there(self) -> SourceRef | None:
        """The source of what is in the folder."""
        if (self.folder / MANIFEST).is_file():
            try:
                return artifacts.read(ModelManifest, self.folder / MANIFEST).source
            except ArtifactError as error:
                raise ArtifactError(f"{self.folder} holds something else: {error.message}", _HINT) from error
        if any((self.folder / name).exists() for name in (MODEL, PLAIN, WEIGHTS)):
            raise ArtifactError(f"{self.folder} holds a model that no manifest describes", _HINT)
        return None


def stem(source: str) -> str:
    """`se_resnet50` of `runs/se_resnet50.pth.tar`, `seresnet50.a1_in1k` of `timm:seresnet50.a1_in1k`."""
    if is_name(source):
        return source.partition(":")[2].replace("/", "_").replace(":", "_")
    name = Path(source).name
    while Path(name).suffix.lower() in _ENDINGS:
        name = Path(name).stem
    return name
