"""`package`: an engine as a Triton model repository, or as a C++ project."""

from __future__ import annotations

import time
from pathlib import Path

from se_deploy import backends
from se_deploy.artifacts import EngineManifest, Result, peak_rss_mb
from se_deploy.deploy import config, containers, repository
from se_deploy.deploy import cpp as cpp_project
from se_deploy.deploy.contract import check_graph, contract
from se_deploy.deploy.triton import Package, models
from se_deploy.errors import ArtifactError, PackageError
from se_deploy.files import inside, sha256, write_text
from se_deploy.stages.steps import asked, engines

#: The folders of a C++ project that are ours.
_PARTS = ("runtime", "model")


def package(
    engine: str | Path | None = None,
    *,
    triton: str | Path | None = None,
    cpp: str | Path | None = None,
    name: str | None = None,
    version: int = 1,
    max_batch: int | None = None,
    instances: int = 1,
    ensemble: bool = False,
    kserve: bool = False,
    storage: str | None = None,
    container: str | None = None,
    force: bool = False,
) -> Result:
    """Writes an engine as a model that a stock Triton loads, or as a CMake project: whole or not at all.

    Args:
        engine: a file, or a name to look for under engines/; None takes the newest engine there.
        triton: the model repository; made where it is not there, and what else is in it stays.
        cpp: the project's folder; must not be there, or be forced. What follows but `force` is for Triton.
        name: the model's; default the engine's.
        version: the version to write; others stay.
        max_batch: the largest batch that the server may form; default the profile's largest.
        instances: copies of the model that the server runs side by side.
        ensemble: also write NAME_preprocess and NAME_images, which take encoded images.
        kserve: also write an InferenceService for Kubernetes.
        storage: the URI at which the cluster finds the repository; default a volume named as its folder.
        container: tag of Triton's container, such as "25.10"; default the newest that carries the plan's TensorRT.
        force: replace the version, and a configuration that was changed.

    Raises:
        ArtifactError: there is no such engine, or it, its manifest and its plugin do not belong together.
        BackendError: only an engine of another backend is there.
        PackageError: what is asked contradicts the engine, or something else would be overwritten.
        Contradiction: neither `triton` nor `cpp`, or both; words that are not for what is written.
    """
    asked.package(triton, cpp, name, version, max_batch, instances, ensemble, kserve, storage, container)
    started = time.perf_counter()
    path, manifest, notes = engines.described(engine, "package")
    if cpp is not None:
        output, described = _write_project(Path(cpp), path, manifest, force)
        return _result(output, described, manifest, started, (*notes, f"{output / 'README.md'} has the commands that build and run it"))
    assert triton is not None
    root, name = Path(triton), name or manifest.name
    config.platform(manifest)
    tag, remark = _container(manifest, container)
    told = contract(manifest, max_batch)
    made = Package(
        engine=path,
        manifest=manifest,
        contract=told,
        plugin=_plugin(path, manifest),
        root=root,
        name=name,
        version=version,
        tag=tag,
        instances=instances,
        ensemble=ensemble,
        storage=(storage or f"pvc://{root.resolve().name}") if kserve else None,
    )
    repository.check_free(root, made.names, version, force)
    _check_engine(path, manifest)
    folders = models(made)
    repository.check_config(root, folders, force)
    repository.write(root, folders, version)
    remarks = (*notes, *filter(None, [remark]), f"{root / name / 'README.md'} has the command that starts the server")
    return _result(root / made.names[-1], root / name / str(version) / "manifest.json", manifest, started, remarks)


def _result(output: Path, described: Path, manifest: EngineManifest, started: float, notes: tuple[str, ...]) -> Result:
    return Result(
        output=output,
        manifest=described,
        backend=manifest.backend,
        precision=manifest.precision,
        se_blocks=manifest.se_blocks,
        plugin_layers=manifest.plugin.layers if manifest.plugin else None,
        seconds=time.perf_counter() - started,
        peak_rss_mb=peak_rss_mb(),
        notes=notes,
    )


def _write_project(folder: Path, engine: Path, manifest: EngineManifest, force: bool) -> tuple[Path, Path]:
    """The C++ project; where one is there, by force its loader and its model are replaced, and the user's own files stay."""
    if manifest.backend not in cpp_project.supported():
        raise PackageError(
            f"the C++ loader opens no engine of {manifest.backend}", f"build with --backend {' or '.join(cpp_project.supported())}"
        )
    ours = (folder / "runtime" / "engine.h").is_file() and (folder / "model").is_dir()
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (ours and force))):
        hint = "add --force to replace it" if ours else "name another folder"
        raise PackageError(f"{folder} is there already", hint)
    files = cpp_project.project(engine, manifest, _plugin(engine, manifest))
    if ours:
        parts = {
            part: {name.removeprefix(f"{part}/"): file for name, file in files.items() if name.startswith(f"{part}/")} for part in _PARTS
        }
        repository.write(folder, [repository.Model(part, inner) for part, inner in parts.items()], version=0)
        write_text(folder / "README.md", str(files["README.md"]))
    else:
        repository.write(folder.parent, [repository.Model(folder.name, files)], version=0)
    return folder, folder / "model" / f"{engine.name}.json"


def _container(manifest: EngineManifest, asked: str | None) -> tuple[str, str | None]:
    if asked is not None:
        containers.check_tag(asked)
    if manifest.backend != "tensorrt":
        return asked or containers.ONNX, None
    version = manifest.versions.get("tensorrt")
    if version is None:
        raise ArtifactError("the plan's manifest does not say which TensorRT built it", "build it again")
    return containers.for_plan(version, asked)


def _plugin(engine: Path, manifest: EngineManifest) -> Path | None:
    """The plugin library that an engine needs, which must be the one it was built with."""
    if manifest.plugin is None:
        return None
    path = inside(engine.parent, manifest.plugin.file)
    if not path.is_file():
        raise PackageError(f"{engine} needs the plugin {path}, which is not there", "put it beside the engine, or build again")
    if sha256(path) != manifest.plugin.sha256:
        raise PackageError(f"{path} is not the plugin that {engine} was built with: its SHA-256 differs", "build the engine again")
    return path


def _check_engine(path: Path, manifest: EngineManifest) -> None:
    """Where the engine can be opened here, its own names, types and sizes are held against the manifest's."""
    backend = backends.get("onnxruntime") if manifest.backend == "onnxruntime" else None
    if backend is None or backend.missing() is not None:
        return
    with backend.open(path, optimised=False) as runner:
        ports = ([(port.name, port.dtype, port.shape) for port in side] for side in (runner.inputs, runner.outputs))
        check_graph(manifest, *ports)
