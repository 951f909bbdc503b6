"""The process that builds one engine: `python -m se_deploy.backends.tensorrt.child JOB.json FD`. It tells what happens as JSON lines on FD.

TensorRT may abort, and its library path is fixed when a process starts: hence a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from se_deploy.backends.tensorrt.job import Failure, Job

_PR_SET_PDEATHSIG = 1


class BuildFailed(Exception):
    """What `parent` makes a sentence of: `details` are its parts."""

    def __init__(self, kind: Failure, text: str, **details: Any) -> None:
        super().__init__(text)
        self.event = {"event": "failed", "kind": kind, "text": text, **details}


class Teller:
    """Writes events to the parent."""

    def __init__(self, handle: int) -> None:
        self._file = os.fdopen(handle, "w")

    def tell(self, event: str, **values: Any) -> None:
        """One event."""
        self._write({"event": event, **values})

    def phase(self, name: str) -> None:
        """What is being done now: if the process dies, it died of this."""
        self.tell("phase", name=name)

    def failed(self, failure: BuildFailed) -> None:
        """The end that is no bug."""
        self._write(failure.event)

    def _write(self, values: dict[str, Any]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


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
