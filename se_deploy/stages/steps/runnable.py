"""Whether an engine runs on this machine, asked before PyTorch's libraries are read; if not, what does run here."""

from __future__ import annotations

from pathlib import Path

from se_deploy import backends
from se_deploy.errors import BackendError
from se_deploy.stages.steps.engines import KINDS, Built, manifest_of


def check(engine: Built) -> None:
    """Refuses an engine whose backend does not run here.

    Raises:
        BackendError: with the reason, and the engine of another backend that lies beside it, or the command that makes one.
    """
    backend = backends.get(engine.manifest.backend)
    unable = backend.missing() or backend.unable_to_run(engine.manifest.targets)
    if unable is None:
        return
    other = _beside(engine)
    hint = f"{unable.partition(';')[0]}; run `se-deploy bench {other}`" if other else unable
    raise BackendError(f"{engine.path} needs {backend.name}, which does not run here", hint)


def _beside(engine: Built) -> Path | None:
    """An engine of another kind under the same name."""
    others = (engine.path.with_suffix(suffix) for suffix in KINDS if suffix != engine.path.suffix)
    return next((path for path in others if path.is_file() and manifest_of(path).is_file()), None)
