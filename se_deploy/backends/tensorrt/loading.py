"""A plan to an engine object: with its plugin, and with a sentence for whatever TensorRT refuses."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from se_deploy import artifacts
from se_deploy.artifacts import EngineManifest
from se_deploy.backends.tensorrt.flavours import Flavour
from se_deploy.backends.tensorrt.names import plugin_of
from se_deploy.errors import BackendError

#: Libraries that this process has given to a registry: a second time is refused there.
_LOADED: set[tuple[str, str]] = set()


def engine(plan: Path, flavour: Flavour) -> Any:
    """The engine of a plan.

    Raises:
        BackendError: there is no such file, its plugin does not load, or this TensorRT does not take it.
    """
    if not plan.is_file():
        raise BackendError(f"no engine {plan}", "run `se-deploy build` first")
    trt: Any = import_module(flavour.module)
    logger = _logger(trt)
    _load_plugin(trt, plan, flavour, logger)
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = _holds_its_plugin(plan)
    made = runtime.deserialize_cuda_engine(plan.read_bytes())
    if made is None:
        said = f": {logger.errors[0]}" if logger.errors else ""
        raise BackendError(f"{flavour.label} {flavour.version()} does not take {plan}{said}", "build it again here")
    return made


def _load_plugin(trt: Any, plan: Path, flavour: Flavour, logger: Any) -> None:
    """Gives the library beside the plan to the registry, once for each content."""
    library = plugin_of(plan)
    if not library.is_file():
        return
    from se_deploy.files import sha256

    key = flavour.module, sha256(library)
    if key in _LOADED:
        return
    if trt.get_plugin_registry().load_library(str(library.resolve())) is None:
        said = f": {logger.errors[0]}" if logger.errors else ""
        raise BackendError(f"{flavour.label} does not take the plugin library {library}{said}", "build the engine again")
    _LOADED.add(key)


def _holds_its_plugin(plan: Path) -> bool:
    """Whether code inside the plan may run: where its manifest says that the plugin is there, and while it is being built."""
    described = plan.with_name(f"{plan.name}.json")
    if not described.is_file():
        return not plugin_of(plan).is_file()
    plugin = artifacts.read(EngineManifest, described).plugin
    return plugin is not None and plugin.file == plan.name


def _logger(trt: Any) -> Any:
    """TensorRT's log: errors are kept for the message, the rest is dropped."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the module is known at run time alone
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(msg.split()))

    return Logger()
