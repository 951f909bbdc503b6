"""The peers' environments: a virtual environment each in the user's cache, made by the hash of what is in it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.int8 import debian
from se_deploy.errors import SeDeployError

#: ModelOpt wants an ONNX Runtime of its own, older than the one that the other two are run with.
REQUIREMENTS = {
    "nncf": ("nncf==3.4.0", "onnx==1.21.0", "onnxruntime==1.32.0", "pillow==13.0.0", "pydantic==2.14.4"),
    "modelopt": ("nvidia-modelopt[onnx]==0.47.0", "onnx==1.21.0", "torch==2.14.1", "torchvision==0.29.1", "pillow==13.0.0"),
}
_PRINT = "import json, importlib.metadata as m; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"


def python(name: str) -> Path:
    """The interpreter of an environment; made where it is not there.

    Raises:
        SeDeployError: pip cannot install it.
    """
    wanted = REQUIREMENTS[name]
    folder = debian.cache() / "peers" / f"{name}-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once would install over each other
        return _installed(name, folder)


def _installed(name: str, folder: Path) -> Path:
    wanted, interpreter, done = REQUIREMENTS[name], folder / "bin" / "python", folder / "done"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        installed = subprocess.run([str(interpreter), "-m", "pip", "install", "-q", *wanted], capture_output=True, text=True, check=False)
        if installed.returncode:
            reason = (installed.stderr.strip().splitlines() or ["no word why"])[-1]
            raise SeDeployError(f"the environment of {name} cannot be installed: {reason}", "try again where the registry answers")
        done.touch()
    return interpreter


def versions(name: str) -> dict[str, str]:
    """The versions of all that is installed there."""
    found: dict[str, str] = json.loads(subprocess.run([str(python(name)), "-c", _PRINT], capture_output=True, text=True, check=True).stdout)
    return found
