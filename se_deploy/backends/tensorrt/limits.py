"""What a build is refused for before it starts: targets that there are none of, and what needs a GPU where there is none."""

from __future__ import annotations

from se_deploy.backends.base import Wanted
from se_deploy.backends.tensorrt.flavours import RTX_TARGETS, Flavour
from se_deploy.backends.tensorrt.gpu import Gpu
from se_deploy.errors import BackendError

#: What TensorRT-RTX answers with an error on a machine without a GPU.
_NEEDS_GPU = {
    "--refit": "refittable engines",
    "--version-compatible": "version-compatible engines (its wheel also lacks the lean runtime)",
    "--hardware-compatible": "hardware-compatible engines; --target may be given several times",
}


def check(flavour: Flavour, wanted: Wanted, here: Gpu | None) -> None:
    """Refuses what cannot be.

    Raises:
        BackendError: with the reason.
    """
    if wanted.embed_plugin and wanted.plugin == "off":
        raise BackendError("--embed-plugin and --plugin off exclude each other", "leave one out")
    targets(flavour, wanted, here)
    if not flavour.rtx or here is not None:
        return
    for option in wanted.options():
        if option in _NEEDS_GPU:
            raise BackendError(f"{option}: without a GPU {flavour.label} cannot make {_NEEDS_GPU[option]}", "build on a machine with a GPU")


def targets(flavour: Flavour, wanted: Wanted, here: Gpu | None) -> tuple[str, ...]:
    """The GPUs that the engine is for.

    Raises:
        BackendError: none is named and none is here, or there is no such target.
    """
    if not flavour.rtx:
        if wanted.targets and (here is None or wanted.targets != (here.target,)):
            raise BackendError(f"{flavour.label} builds for the GPU it sees", "leave --target out, or take --backend tensorrt-rtx")
        return (here.target,) if here else ()
    asked = tuple(dict.fromkeys(wanted.targets)) or ((here.target,) if here else ())
    if not asked:
        raise BackendError("no GPU is here, so the engine's is to be named", f"add --target, one or more of {', '.join(RTX_TARGETS)}")
    for target in asked:
        if target not in RTX_TARGETS:
            raise BackendError(f"{flavour.label} has no code for {target}", f"it has for {', '.join(RTX_TARGETS)}")
    return asked
