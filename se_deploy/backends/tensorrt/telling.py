"""How the process that builds tells its parent what happens: events as JSON lines, and one exception for an end that is no bug."""

from __future__ import annotations

import json
import os
from typing import Any

from se_deploy.backends.tensorrt.job import Failure


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
