"""What differs between TensorRT and TensorRT-RTX: names, packages, GPUs, and the environment that their libraries need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

#: GPUs that a TensorRT-RTX engine can be for.
RTX_TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")
#: The first release of RTX whose parser takes plugins, and of TensorRT that prefers them to a function's body.
RTX_PLUGINS, BODIES_IGNORED = (1, 7), (10, 7)
#: The oldest that have IPluginV3 and strongly typed networks.
OLDEST = {"tensorrt": (10, 0), "tensorrt_rtx": RTX_PLUGINS}

_LOADER_PATH = "LD_LIBRARY_PATH"


@dataclass(frozen=True)
class Flavour:
    """`module` is the Python module; `packages` are the distributions that may bring it, `extra` ours that does."""

    name: str
    label: str
    module: str
    packages: tuple[str, ...]
    extra: str
    #: A library that the wheel's folder holds under another name only: (the name it is looked for by, the one it has).
    renamed: tuple[str, str] | None = None

    @property
    def rtx(self) -> bool:
        """Whether it is TensorRT-RTX."""
        return self.module == "tensorrt_rtx"

    def version(self) -> str | None:
        """The installed version; None where it is not installed."""
        if find_spec(self.module) is None:
            return None
        for package in self.packages:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return None

    def unusable(self) -> str | None:
        """Why it is not usable whatever the machine, with the remedy."""
        version = self.version()
        if version is None:
            return f"{self.label} is not installed: `pip install 'se-deploy[{self.extra}]'`"
        oldest = OLDEST[self.module]
        if numbers(version) < oldest:
            least = ".".join(map(str, oldest))
            return f"{self.label} {version} takes no plugins, {least} does: `pip install -U 'se-deploy[{self.extra}]'`"
        return None

    def bodies_taken_out(self) -> bool:
        """Whether the parser prefers a function's body to a plugin, so that it must not see any."""
        return not self.rtx and numbers(self.version() or "0") < BODIES_IGNORED

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """Variables that must be set before a process that builds engines starts.

        The wheel of TensorRT-RTX holds libtensorrt_rtx.so.1 alone, while its parser looks for libtensorrt_rtx.so as soon as there is
        a plugin, and aborts without it: a folder with a link of that name on the loader's path is what it wants.
        """
        import os

        added = {"POLYGRAPHY_USE_TENSORRT_RTX": "1" if self.rtx else "0"}
        real = self._library()
        if self.renamed is None or real is None:
            yield added
            return
        with TemporaryDirectory(prefix="se-deploy-") as folder:
            Path(folder, self.renamed[0]).symlink_to(real)
            before = os.environ.get(_LOADER_PATH)
            yield added | {_LOADER_PATH: folder + (f":{before}" if before else "")}

    def _library(self) -> Path | None:
        """The wheel's library that lacks a link to it."""
        spec = find_spec(f"{self.module}_libs")
        for place in (spec.submodule_search_locations or ()) if spec and self.renamed else ():
            real = Path(place, (self.renamed or ("", ""))[1])
            if real.is_file():
                return real.resolve()
        return None


STANDARD = Flavour("tensorrt", "TensorRT", "tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"), "tensorrt")
RTX = Flavour(
    name="tensorrt-rtx",
    label="TensorRT-RTX",
    module="tensorrt_rtx",
    packages=("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt_rtx"),
    extra="rtx",
    renamed=("libtensorrt_rtx.so", "libtensorrt_rtx.so.1"),
)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison."""
    found = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)
