"""An engine as models of a Triton repository: which files `package --triton` writes, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from se_deploy.artifacts import EngineManifest, FileRef
from se_deploy.deploy import config, containers, ensemble, kserve
from se_deploy.deploy.contract import Contract
from se_deploy.deploy.readme import readme, start
from se_deploy.deploy.repository import Model
from se_deploy.deploy.sample import samples

Files = dict[str, Path | bytes | str]


@dataclass(frozen=True)
class Package:
    """The engine and its files, what a server is told of it, and the words of the call."""

    engine: Path
    manifest: EngineManifest
    contract: Contract
    plugin: Path | None
    root: Path
    name: str
    version: int
    tag: str
    instances: int = 1
    ensemble: bool = False
    storage: str | None = None

    @property
    def stock(self) -> str:
        """NVIDIA's container."""
        return f"{containers.IMAGE}:{self.tag}-py3"

    @property
    def image(self) -> str:
        """The container to start: the stock one, or what the Dockerfile makes of it."""
        return f"{self.name.lower()}-triton" if self.ensemble else self.stock

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, each after those it refers to; the last one takes the requests."""
        return (self.name + ensemble.PREPROCESS, self.name, self.name + ensemble.IMAGES) if self.ensemble else (self.name,)

    def options(self, mounted: str) -> list[str]:
        """What the server must be told beside its repository, which it sees at `mounted`."""
        if self.plugin is None:
            return []
        return [f"--backend-config=tensorrt,plugins={mounted}/{self.name}/{self.version}/{self.plugin.name}"]


def models(package: Package) -> list[Model]:
    """The folders to write, in the order of `names`.

    Raises:
        PackageError: the engine cannot be served as asked.
    """
    if not package.ensemble:
        return [Model(package.name, _network(package))]
    ensemble.check(package.manifest, package.contract)
    how = (package.manifest, package.contract)
    before: Files = {f"{package.version}/{name}": source for name, source in ensemble.sources().items()}
    before["config.pbtxt"] = ensemble.preprocess_config(package.name, *how, package.instances)
    # An ensemble has no file of its own, but Triton wants the version's folder.
    around: Files = {f"{package.version}/.keep": "", **_labels(package)}
    around["config.pbtxt"] = ensemble.ensemble_config(package.name, *how)
    files = _network(package) | {"Dockerfile": ensemble.dockerfile(package.stock)}
    return [Model(name, made) for name, made in zip(package.names, (before, files, around), strict=True)]


def _network(package: Package) -> Files:
    _, file = config.platform(package.manifest)
    files: Files = {"config.pbtxt": config.network(package.name, package.manifest, package.contract, package.instances)}
    files |= _version(package, file) | _labels(package)
    for number, row in enumerate(samples(package.manifest).values()):
        files[f"warmup/input_{number}"] = row.tobytes()
    where = package.root.resolve().name
    build = [f"docker build -t {package.image} - < {where}/{package.name}/Dockerfile"] if package.ensemble else []
    command = start(where, package.image, package.options("/models"), package.manifest.backend == "tensorrt")
    files["README.md"] = readme(package.names[-1], package.manifest, package.contract, [*build, command])
    if package.storage is not None:
        files["inferenceservice.yaml"] = kserve.service(
            package.name,
            storage=package.storage,
            tag=package.tag,
            image=package.image if package.ensemble else None,
            options=package.options(kserve.MOUNTED),
            gpu=package.manifest.backend == "tensorrt",
            concurrency=max(1, package.contract.max_batch),
        )
    return files


def _version(package: Package, file: str) -> Files:
    """The version's folder: the engine under the name that Triton looks for, the manifest that describes it so, the plugin."""
    inner = f"{package.version}/"
    described = package.manifest.model_copy(update={"engine": FileRef(file=file, sha256=package.manifest.engine.sha256)})
    files: Files = {inner + file: package.engine, inner + "manifest.json": described.model_dump_json(indent=2) + "\n"}
    weights = package.engine.with_name(f"{package.engine.name}.data")
    if weights.is_file():
        files[inner + weights.name] = weights  # named so inside the ONNX file
    if package.plugin is not None:
        files[inner + package.plugin.name] = package.plugin
    return files


def _labels(package: Package) -> Files:
    if package.contract.scores is None:
        return {}
    # A label stands on one line.
    names = [" ".join(label.split()) for label in package.manifest.labels or ()]
    return {config.LABELS: "".join(f"{name}\n" for name in names)}
