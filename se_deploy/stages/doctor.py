"""`doctor`: what is installed here, what each backend could do, what is missing; and whether an engine can run."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from se_deploy import backends
from se_deploy.artifacts import EngineManifest, Record
from se_deploy.deploy import doctor as machine
from se_deploy.deploy.doctor import Check, safely
from se_deploy.errors import BackendError, CheckFailed, SeDeployError
from se_deploy.files import inside, sha256
from se_deploy.op import PLUGIN_VERSION
from se_deploy.stages.steps import engines


class Verdict(Record):
    """Whether an engine can run here; `reason` and `remedy` where it cannot."""

    engine: str
    runs: bool
    reason: str | None = None
    remedy: str | None = None


class DoctorReport(Record):
    """What `doctor` returns."""

    checks: tuple[Check, ...]
    engine: Verdict | None
    #: Remarks a user should read; printed on stderr, not part of the JSON.
    notes: tuple[str, ...] = Field(default=(), exclude=True)

    def check(self) -> None:
        """Raises where the engine that was asked for cannot run.

        Raises:
            CheckFailed: says why, and what to do.
        """
        if self.engine is not None and not self.engine.runs:
            raise CheckFailed(f"{self.engine.engine} cannot run here: {self.engine.reason}", self.engine.remedy or "")


def doctor(engine: str | Path | None = None) -> DoctorReport:
    """Looks at this machine, and at an engine where one is named; changes nothing.

    Args:
        engine: a file, or a name to look for under engines/.

    Raises:
        ArtifactError: there is no such engine, or it and its manifest do not belong together.
        BackendError: only an engine of another backend is there.
    """
    found = engines.described(engine, "doctor") if engine is not None else None
    checks = [
        *safely("GPU", machine.gpu),
        *[check for name in backends.NAMES for check in safely(name, lambda name=name: _backend(name))],  # type: ignore[misc]
        *safely("ONNX Runtime", machine.providers),
        *safely("plugin", _plugin),
        *safely("C++ compiler", machine.compiler),
        *safely("Triton client", machine.client),
        *safely("disk", machine.disk),
    ]
    if found is None:
        return DoctorReport(checks=tuple(checks), engine=None)
    path, manifest, notes = found
    return DoctorReport(checks=tuple(checks), engine=_verdict(path, manifest), notes=notes)


def _backend(name: str) -> Check:
    """What a backend could do here."""
    try:
        backend = backends.get(name)
        missing, idle = backend.missing(), backend.unable_to_run()
    except BackendError as error:
        return Check(name=name, status="missing", detail=error.message, remedy="se-deploy build --backend onnxruntime")
    if missing is not None:
        detail, remedy = _split(missing)
        return Check(name=name, status="missing", detail=detail, remedy=remedy or machine.DRIVER)
    version = backend.versions().get(name, "")
    if idle is not None:
        return Check(name=name, status="ok", detail=f"{version}, builds; cannot run engines here: {_split(idle)[0]}".lstrip(", "))
    return Check(name=name, status="ok", detail=f"{version}, builds and runs on {backend.device()}".lstrip(", "))


def _split(reason: str) -> tuple[str, str | None]:
    """A reason, and the command that stands in it between backquotes."""
    said, _, rest = reason.partition("`")
    command = rest.partition("`")[0]
    return (said.rstrip(" :;,") if command else reason), command or None


def _plugin() -> list[Check]:
    """The plugin's compiler, and the library that was built: whether it loads, its version, its architectures."""
    from se_deploy.backends.plugin import library, sources, toolchain

    lines: list[Check] = []
    try:
        lines.append(Check(name="plugin compiler", status="ok", detail=toolchain.find().said()))
    except BackendError as error:
        lines.append(Check(name="plugin compiler", status="missing", detail=error.message, remedy="pip install 'se-deploy[plugin]'"))
    file = sources.cached(sources.root())
    build = "se-deploy plugin build"
    if not file.is_file():
        return [*lines, Check(name="plugin", status="missing", detail="not built from the sources as they are", remedy=build)]
    try:
        there = library.described(file)
    except BackendError as error:
        return [*lines, Check(name="plugin", status="mismatch", detail=error.message, remedy=build)]
    fits = there.version == PLUGIN_VERSION
    detail = f"loads; version {there.version}, for {' '.join(there.architectures)}" + ("" if fits else f"; models need {PLUGIN_VERSION}")
    return [*lines, Check(name="plugin", status="ok" if fits else "mismatch", detail=detail, remedy=None if fits else build)]


def _verdict(path: Path, manifest: EngineManifest) -> Verdict:
    """Every reason that can be found without running it, then whether its backend opens it."""
    try:
        _plugin_of(path, manifest)
        backend = backends.get(manifest.backend)
        unable = backend.missing() or backend.unable_to_run()
        if unable is not None:
            return Verdict(engine=str(path), runs=False, reason=unable)
        _same_version(manifest, backend.versions())
        with backend.open(path):
            pass
    except SeDeployError as error:
        return Verdict(engine=str(path), runs=False, reason=error.message, remedy=error.hint)
    return Verdict(engine=str(path), runs=True)


def _plugin_of(path: Path, manifest: EngineManifest) -> None:
    if manifest.plugin is None:
        return
    library = inside(path.parent, manifest.plugin.file)
    if not library.is_file():
        raise BackendError(f"it needs the plugin {library}, which is not there", "put it beside the engine, or build again")
    if sha256(library) != manifest.plugin.sha256:
        raise BackendError(f"{library} is not the plugin it was built with: its SHA-256 differs", "build the engine again")


def _same_version(manifest: EngineManifest, here: dict[str, str]) -> None:
    """A plan loads on the TensorRT that built it, by major and minor version."""
    built, there = manifest.versions.get(manifest.backend), here.get(manifest.backend)
    if manifest.backend.startswith("tensorrt") and built and there and built.split(".")[:2] != there.split(".")[:2]:
        raise BackendError(f"it was built with {manifest.backend} {built}, and {there} is installed", "build it again with this one")
