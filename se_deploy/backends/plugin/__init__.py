"""The plugin library: its sources, what compiles them here, and what a compiled one says of itself. Knows nothing of TensorRT's Python."""
