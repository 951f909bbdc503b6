"""The process that builds one engine: `python -m se_deploy.backends.tensorrt.child JOB.json FD`. It tells what happens as JSON lines on FD.

TensorRT may abort, and its library path is fixed when a process starts: hence a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from se_deploy.backends.tensorrt.job import Job
from se_deploy.backends.tensorrt.telling import BuildFailed, Teller

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """Leaves no orphan: the kernel kills this process when its parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def main(job_file: str, handle: str, parent: str) -> None:
    """Builds what the job says."""
    _die_with(int(parent))
    teller = Teller(int(handle))
    job = Job.read(Path(job_file))
    from se_deploy.backends.tensorrt import engine, network
    from se_deploy.backends.tensorrt.messages import Messages

    try:
        with Messages() as messages:
            teller.phase("load the plugin")
            network.load_plugin(job, messages)
            teller.phase("parse the model")
            parsed = network.parse(job, messages)
            found = network.count(job, parsed)
            teller.phase("build the engine")
            engine.build(job, parsed, messages, teller)
            teller.tell("done", plugin_layers=found, warnings=messages.warnings())
    except BuildFailed as failure:
        teller.failed(failure)


if __name__ == "__main__":
    main(*sys.argv[1:])
