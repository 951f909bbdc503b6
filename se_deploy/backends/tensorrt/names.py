"""What lies beside an engine, under names that begin with its own."""

from __future__ import annotations

from pathlib import Path


def layers_of(engine: Path) -> Path:
    """What is known of its layers: engine.plan -> engine.layers.json."""
    return engine.with_suffix(".layers.json")


def plugin_of(engine: Path) -> Path:
    """Its plugin's library: engine.plan -> engine.plugin.so."""
    return engine.with_suffix(".plugin.so")
