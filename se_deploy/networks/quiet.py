"""What third parties print, warn of and log while they export does not reach the user's screen: what matters of it is raised."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


class _Sink(io.StringIO):
    """Swallows text; Rich, which looks for the attribute, goes on drawing its progress on the real stream."""

    def __init__(self) -> None:
        super().__init__()
        self.rich_proxied_file = getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings, logging and what Python code prints; everything is as before afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = _Sink()
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def quiet_native() -> Iterator[None]:
    """Silences what C++ writes to the process's error stream, whoever else writes there: for calls of a few seconds."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
