"""From a trained Squeeze-and-Excitation network in PyTorch to a verified TensorRT deployment.

The public functions are the stages of the command line, with the same words as keyword arguments:

    >>> import se_deploy
    >>> se_deploy.export("se_resnet50.pt")                       # doctest: +SKIP
    >>> se_deploy.build("engines/se_resnet50", int8=True, calib="imgs/")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_deploy.stages.bench import bench
    from se_deploy.stages.bisect import bisect
    from se_deploy.stages.build import build
    from se_deploy.stages.calibrate import calibrate
    from se_deploy.stages.client import client
    from se_deploy.stages.doctor import doctor
    from se_deploy.stages.export import export
    from se_deploy.stages.fold import fold
    from se_deploy.stages.fuse import fuse
    from se_deploy.stages.inspect import inspect
    from se_deploy.stages.package import package
    from se_deploy.stages.run import run

__version__ = "0.1.0"
__all__ = ["bench", "bisect", "build", "calibrate", "client", "doctor", "export", "fold", "fuse", "inspect", "package", "run"]


def __getattr__(name: str) -> Any:
    """Imports a stage when it is asked for, so that `import se_deploy` (and `--help`) costs nothing (PEP 562)."""
    if name in __all__:
        return getattr(import_module(f"se_deploy.stages.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
