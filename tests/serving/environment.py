"""Where the tests' Triton lives: a virtual environment of its own, made once for each list of requirements and kept in a cache folder.

    python -m tests.serving.environment      makes it, and prints where it is

The wheel `nvidia-pytriton` carries a real tritonserver with its Python backend, and no other. Backends may be written in Python, so
`onnxruntime` and `tensorrt` are stand-ins there (backend/model.py): configurations, batching, ensembles and clients are the real ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REQUIREMENTS, SCHEMA = HERE / "requirements.txt", HERE / "requirements-kserve.txt"
STAND_INS = ("onnxruntime", "tensorrt")


def interpreter() -> str:
    """A Python that the wheels are for; NumPy 1.26, which they want, ends at 3.12."""
    if sys.version_info < (3, 13):
        return sys.executable
    found = shutil.which("python3.12") or shutil.which("python3.11")
    if found is None:
        pytest.skip("Triton's wheels need python3.11 or python3.12 beside this one")
    return found


@cache
def version() -> str:
    """Of that Python, such as "3.11"."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([interpreter(), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def folder() -> Path:
    """The environment's place: by interpreter and requirements, so that a change of either makes another."""
    key = hashlib.sha256(f"{interpreter()} {version()}\n{REQUIREMENTS.read_text()}{SCHEMA.read_text()}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "se-deploy-tests" / f"triton-{key}"


def made() -> Path:
    """The environment, installed if it is not there; processes that ask at the same time wait for the first."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            shutil.rmtree(place / "venv", ignore_errors=True)
            subprocess.run([interpreter(), "-m", "venv", str(place / "venv")], check=True)
            pip = [str(place / "venv/bin/python"), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)]
            subprocess.run(pip, check=True)
            subprocess.run([*pip[:-2], "--no-deps", "-t", str(place / "venv" / "kserve"), "-r", str(SCHEMA)], check=True)
            (place / ".done").touch()
    return place / "venv"


def packages(venv: Path) -> Path:
    """The environment's site-packages."""
    return venv / "lib" / f"python{version()}" / "site-packages"


def backends(venv: Path, target: Path) -> Path:
    """A backend directory: the wheel's Python backend, and the stand-ins."""
    server = packages(venv) / "pytriton" / "tritonserver"
    shutil.copytree(server / "backends" / "python", target / "python")
    stub = server / "python_backend_stubs" / version() / "triton_python_backend_stub"
    shutil.copy(stub, target / "python")
    for name in STAND_INS:
        (target / name).mkdir()
        shutil.copy(HERE / "backend" / "model.py", target / name)
    return target


def variables(venv: Path) -> dict[str, str]:
    """The process environment that the server needs: its own libraries, a libpython for the stub, its interpreter first."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    libdir = subprocess.run([interpreter(), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    libraries = (packages(venv) / "nvidia_pytriton.libs", libdir)
    return os.environ | {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(venv),
        "OMP_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    print(made())
