"""Python with TensorRT-RTX in a process of its own, as the tool starts one."""

import os
import subprocess
import sys

from se_deploy.backends.tensorrt.flavours import RTX

#: A logger that keeps what is said, and the registry.
PRELUDE = """
import sys
import tensorrt_rtx as trt

class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.said = []
    def log(self, severity, text):
        self.said.append((str(severity).rpartition(".")[2], text))

log = Log()
builder = trt.Builder(log)
registry = trt.get_plugin_registry()
NAMESPACE = "se_deploy"
"""


def in_rtx(code: str, *arguments: object) -> str:
    """What the code prints; `log`, `trt` and `registry` are there."""
    with RTX.environment() as added:
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | added,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
