"""Where the plugin's sources are, and the hash that a compiled library is kept under."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import se_deploy
from se_deploy.errors import BackendError

#: Machine code for these; PTX of 90 serves what has none of its own (sm_110) and what comes later.
ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
PTX = "90"

LIBRARY = "libse_deploy_plugin.so"


def root() -> Path:
    """The folder of the sources: in the package where it was installed as a wheel, beside it in a checkout.

    Raises:
        BackendError: there are none.
    """
    package = Path(se_deploy.__file__).parent
    for folder in (package / "_plugins", package.parent / "plugins"):
        if (folder / "tensorrt" / "exports.map").is_file():
            return folder
    raise BackendError(f"the plugin's sources are not in {package}", "install se-deploy again")


def files(folder: Path) -> tuple[Path, ...]:
    """What is compiled, sorted."""
    return tuple(sorted([*folder.glob("kernels/*.cu"), *folder.glob("kernels/*.cpp"), *folder.glob("tensorrt/*.cpp")]))


def fingerprint(folder: Path) -> str:
    """Hex digits that change with any source, and with what it is compiled for."""
    whole = hashlib.sha256(" ".join((*ARCHITECTURES, PTX)).encode())
    for path in sorted([*folder.glob("kernels/*"), *folder.glob("tensorrt/*")]):
        if path.is_file():
            whole.update(f"\n{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def cached(folder: Path) -> Path:
    """Where the library of these sources is kept (XDG_CACHE_HOME, else ~/.cache), whether or not it is there yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "se-deploy" / "plugin" / fingerprint(folder) / LIBRARY
