"""What TensorRT says while it parses and builds: kept, because its errors are often just a number and the log has the reason."""

from __future__ import annotations

import logging
import re

#: Said on every machine without a GPU, whatever the real trouble is.
_NO_GPU = re.compile(r"cuda(Error| Runtime)|catchCudaError|Unable to determine GPU memory|CUDA initialization", re.IGNORECASE)

#: Lines around a parser's error; its node is asked of the parser.
_FRAME = re.compile(r"^ModelImporter\.cpp:\d+: (While parsing|---)")

#: Places in TensorRT's sources.
_PLACES = (
    r"^[\w:]+::\w+: Error Code \d+: ",
    r"^ModelImporter\.cpp:\d+: ERROR: [\w.]+:\d+ In function \w+: \[\d+\] ",
    r"\s*\(?In [\w:~]+ at [^ )]+:\d+\)?",
)

_ERROR, _WARNING = logging.ERROR, logging.WARNING


class Messages(logging.Handler):
    """Takes Polygraphy's log, which TensorRT's own goes into."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[tuple[int, str]] = []

    def __enter__(self) -> Messages:
        from polygraphy.logger import G_LOGGER

        G_LOGGER.use_python_logging_system = True
        log = logging.getLogger("Polygraphy")
        log.propagate = False
        log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("Polygraphy").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a message without the letter in front."""
        text = re.sub(r"^\s*\[\w\]\s*", "", " ".join(record.getMessage().split()))
        self._records.append((record.levelno, text))

    def errors(self) -> list[str]:
        """Errors that are about this model; those that every machine without a GPU gives only where there is no other."""
        said = [_plain(text) for level, text in self._records if level >= _ERROR and not _FRAME.search(text)]
        return [text for text in said if not _NO_GPU.search(text)] or said

    def warnings(self) -> list[str]:
        """Warnings, each once."""
        said = dict.fromkeys(_plain(text) for level, text in self._records if level == _WARNING)
        return [text for text in said if not _NO_GPU.search(text)]


def _plain(text: str) -> str:
    """Without the place in TensorRT's sources."""
    for place in _PLACES:
        text = re.sub(place, "", text)
    return text.strip()
