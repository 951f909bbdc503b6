"""The C++ loader of plugins/runtime under Python: compiled once, opened by ctypes, run like any engine."""

from __future__ import annotations

from se_deploy.backends.cpp.compiling import library
from se_deploy.backends.cpp.loader import Loaded

__all__ = ["Loaded", "library"]
