"""Manifests from which the fuzzers begin."""

from __future__ import annotations

from pathlib import Path

from tests.serving import engines


def corpus(folder: Path, scratch: Path) -> Path:
    """A folder of true manifests of every kind."""
    folder.mkdir(parents=True)
    made = {"onnx": engines.engine(scratch / "a"), "fixed": engines.engine(scratch / "b", batch=1), "plan": engines.plan(scratch / "c")}
    for name, path in made.items():
        (folder / name).write_bytes(Path(f"{path}.json").read_bytes())
        (folder / f"{name}-model").write_bytes(path.with_name("manifest.json").read_bytes())
    return folder
