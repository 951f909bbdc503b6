"""One file per engine: each says what it can do here, builds, and runs; a new one is one file."""
