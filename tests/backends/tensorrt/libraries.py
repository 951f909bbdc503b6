"""Plugin libraries that are wrong in one way each, compiled from a few lines of C."""

import json
import subprocess
from pathlib import Path

from se_deploy import op

GOOD = {"version": op.PLUGIN_VERSION, "architectures": "sm_89", "creators": list(op.VARIANTS)}
#: What loadLibrary asks for, with nothing in it.
EMPTY = "void** getCreators(int* n) { *n = 0; return 0; } void setLoggerFinder(void* f) {}"


def says(about: dict) -> str:
    """The C of a library that says this of itself."""
    return f"const char* seDeployPlugin(void) {{ return {json.dumps(json.dumps(about))}; }}"


def compiled(code: str, path: Path) -> Path:
    """A shared library of C code."""
    source = path.with_suffix(".c")
    source.write_text(code)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(path), str(source)], check=True, capture_output=True)
    return path
