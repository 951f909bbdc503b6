"""What lies beside an engine: engine.plan -> engine.layers.json, my.engine -> my.engine.layers.json."""

from __future__ import annotations

from pathlib import Path


def layers_of(engine: Path) -> Path:
    """What is known of its layers."""
    return engine.with_name(f"{_base(engine)}.layers.json")


def plugin_of(engine: Path) -> Path:
    """Its plugin's library."""
    return engine.with_name(f"{_base(engine)}.plugin.so")


def _base(engine: Path) -> str:
    return engine.stem if engine.suffix == ".plan" else engine.name
