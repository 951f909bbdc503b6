"""`plugin info`: what the library that `build` would take holds."""

from __future__ import annotations

from pathlib import Path

from se_deploy.backends.plugin import library, sources
from se_deploy.backends.plugin.library import Library
from se_deploy.errors import BackendError


def plugin_info(plugin: str | Path | None = None) -> Library:
    """Reads what a plugin library says of itself.

    Args:
        plugin: the library; None takes the one that `plugin build` made of the sources as they are.

    Raises:
        BackendError: there is none, or it is no plugin library.
    """
    path = Path(plugin) if plugin is not None else sources.cached(sources.root())
    if plugin is None and not path.is_file():
        raise BackendError("no plugin library is built from the sources as they are", "run `se-deploy plugin build`")
    return library.described(path)
