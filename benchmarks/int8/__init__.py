"""Ours beside the peers' INT8 on five trained SE networks: `python -m benchmarks.int8` (docs/int8.md)."""
