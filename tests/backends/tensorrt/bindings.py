"""NVIDIA's Python bindings of TensorRT 10 and 11 over empty libraries: their every class, flag and signature, without TensorRT."""

import os
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

#: TensorRT's major version -> the wheel with its bindings.
WHEELS = {10: "tensorrt-cu12-bindings==10.16.1.11", 11: "tensorrt-cu13-bindings==11.4.0.106"}


@cache
def site(major: int) -> Path:
    """A folder with the module `tensorrt` of that version, and the libraries that it is linked to, empty."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "se-deploy", WHEELS[major].replace("==", "-"))
    folder = home / f"site-{sys.version_info.minor}"
    if (folder / "tensorrt").is_dir():
        return folder
    _download(major, home)
    (wheel,) = home.glob(f"*cp3{sys.version_info.minor}*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    _empty_libraries(folder)
    (folder / "tensorrt").mkdir()
    # As the package `tensorrt` has it, which also wants the real libraries.
    (folder / "tensorrt" / "__init__.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")
    return folder


def _download(major: int, home: Path) -> None:
    """Without a registry the test skips with that reason; under CI=true it fails."""
    home.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(home), WHEELS[major]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"the wheel of {WHEELS[major]} cannot be had: {done.stderr.strip().splitlines()[-1:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def _empty_libraries(folder: Path) -> None:
    """libnvinfer and the other two, with the functions that the bindings want and nothing in them."""
    module = folder / "tensorrt_bindings" / "tensorrt.so"
    undefined = subprocess.run(["nm", "-D", "--undefined-only", str(module)], capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r" U ((?:create|get|init)\w*(?:_INTERNAL|Registry|Version|Plugins))$", undefined, re.MULTILINE)
    source = folder / "empty.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in wanted))
    dynamic = subprocess.run(["readelf", "-d", str(module)], capture_output=True, text=True, check=True).stdout
    for name in re.findall(r"\[(libnv\w+\.so\.\d+)\]", dynamic):
        subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True)


def python(major: int, code: str, *arguments: str) -> str:
    """What code prints that imports `tensorrt` of that version."""
    folder = site(major)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
