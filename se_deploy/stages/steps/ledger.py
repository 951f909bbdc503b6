"""What `run` did before: for each step the hash of all that went in, and of each file that came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from se_deploy import __version__
from se_deploy.artifacts import Record
from se_deploy.files import sha256, write_text

FILE = "run.json"


class Entry(Record):
    """A step that was done; `outputs` are files by path, as the user would name them."""

    inputs: str
    outputs: dict[str, str]


class Ledger:
    """`DIR/run.json`. One that cannot be read is as good as none: everything is done again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.entries: dict[str, Entry] = {}
        try:
            found = json.loads(self.path.read_bytes())
            self.entries = {name: Entry.model_validate(entry) for name, entry in found["steps"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
            self.entries = {}

    def why(self, step: str, inputs: str) -> str | None:
        """Why a step has to be done; None where it need not be."""
        entry = self.entries.get(step)
        if entry is None:
            return "not done yet"
        if entry.inputs != inputs:
            return "its inputs have changed"
        gone = next((name for name, digest in entry.outputs.items() if _digest(Path(name)) != digest), None)
        return None if gone is None else f"{gone} is {'missing' if not Path(gone).exists() else 'not what it was'}"

    def note(self, step: str, inputs: str, outputs: list[Path]) -> None:
        """Writes down that a step was done."""
        self.entries[step] = Entry(inputs=inputs, outputs={str(path): _digest(path) or "" for path in outputs})
        text = json.dumps({"format": 1, "steps": {name: entry.model_dump() for name, entry in self.entries.items()}}, indent=2)
        write_text(self.path, text + "\n")


def fingerprint(step: str, options: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """One hash of a step's options, of the files that it reads, and of this version."""
    parts = {"step": step, "options": _plain(options), "files": dict(files), "version": __version__}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def contents(options: Mapping[str, Any], written: frozenset[str] = frozenset()) -> dict[str, str]:
    """The hash of every file and folder that options name, but for those that are written."""
    found: dict[str, str] = {}
    for key, value in options.items():
        for text in value if isinstance(value, (list, tuple)) else (value,):
            digest = _digest(Path(text)) if key not in written and isinstance(text, (str, Path)) and str(text) else None
            if digest is not None:
                found[str(text)] = digest
    return found


def _digest(path: Path) -> str | None:
    """Of a file's contents, or of the names and contents of all files in a folder; None where there is nothing of that name."""
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return None
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{file.relative_to(path)}\0{sha256(file)}\n".encode())
    return whole.hexdigest()


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)
