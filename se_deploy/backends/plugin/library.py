"""A plugin library: which one a build takes, and what it says of itself, asked in a process of its own because a wrong one may abort."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from se_deploy.artifacts import Progress
from se_deploy.backends.plugin import compiling, sources, toolchain
from se_deploy.backends.plugin.toolchain import Toolchain
from se_deploy.errors import BackendError
from se_deploy.op import PLUGIN_VERSION

_BUILD = "run `se-deploy plugin build`"

_ASK = """
import ctypes, sys
try:
    about = ctypes.CDLL(sys.argv[1]).seDeployPlugin
except (OSError, AttributeError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
about.restype = ctypes.c_char_p
sys.stdout.buffer.write(about())
"""


@dataclass(frozen=True)
class Library:
    """What a plugin library holds: machine code for `architectures`, a creator for each of `creators`."""

    file: Path
    version: str
    architectures: tuple[str, ...]
    creators: tuple[str, ...]


def described(path: Path) -> Library:
    """Reads what a library says of itself.

    Raises:
        BackendError: it is missing, cannot be loaded, is no plugin of ours, or kills the process that loads it.
    """
    if not path.is_file():
        raise BackendError(f"no plugin library {path}", f"{_BUILD}, or correct --plugin")
    done = subprocess.run([sys.executable, "-c", _ASK, str(path.resolve())], capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise BackendError(f"the plugin library {path} kills the process that loads it ({_signal(-done.returncode)})", _BUILD)
    if done.returncode:
        raise BackendError(f"{path} is no plugin library of se-deploy: {_reason(done.stderr, path)}", f"{_BUILD}, or correct --plugin")
    try:
        about = json.loads(done.stdout)
        return Library(path, about["version"], tuple(about["architectures"].split()), tuple(about["creators"]))
    except (ValueError, KeyError, AttributeError) as error:
        raise BackendError(f"{path} is no plugin library of se-deploy: it says {done.stdout[:80]!r}", _BUILD) from error


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _reason(text: str, path: Path) -> str:
    """The last line that the loader says, without the path that is in the message already."""
    lines = text.strip().splitlines() or ["it does not load"]
    return lines[-1].split(": ", 1)[-1].removeprefix(f"{path.resolve()}: ")


def chosen(asked: str, progress: Progress) -> Library:
    """The library that `--plugin` names; "auto" takes the one built before, else compiles one now.

    Raises:
        BackendError: it is not to be had, or is of another version than the nodes are for.
    """
    path = Path(asked) if asked != "auto" else sources.cached(sources.root())
    if asked == "auto" and not path.is_file():
        path = compiling.compiled(_toolchain(), progress)
    library = described(path)
    if library.version != PLUGIN_VERSION:
        raise BackendError(f"the plugin library {path} is of version {library.version}, the model needs {PLUGIN_VERSION}", _BUILD)
    return library


def check(asked: str) -> None:
    """Says early what `chosen` would say late; compiles nothing.

    Raises:
        BackendError: the library that `--plugin` names cannot be taken, or none is built and none can be.
    """
    if asked != "auto":
        described(Path(asked))
    elif not sources.cached(sources.root()).is_file():
        _toolchain()


def _toolchain() -> Toolchain:
    try:
        return toolchain.find()
    except BackendError as error:
        raise BackendError(f"no plugin is built, and none can be: {error.message}", f"{error.hint}, or add --plugin off") from error
