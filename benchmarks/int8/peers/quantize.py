"""Quantizes one file by one peer: in the peer's environment,

    python -m benchmarks.int8.peers.quantize QUANTIZER METHOD MANIFEST CALIB OUT

Prints one JSON object: seconds (images decoded, calibrated, written; imports left out) and peak memory of the process.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from se_deploy.artifacts import Preprocess, peak_rss_mb
from se_deploy.images import find_images


class Calibration:
    """The images that calibrate, prepared as the manifest says: (1, C, H, W) each, decoded when asked for."""

    def __init__(self, manifest: Path, folder: Path) -> None:
        said = json.loads(manifest.read_text())
        self.name: str = said["inputs"][0]["name"]
        self.how = Preprocess(**said["preprocess"])
        self.images = find_images(folder)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (pixels[None] for _, pixels in self.images.read(self.how))

    def __len__(self) -> int:
        return len(self.images.paths)


def main() -> None:
    """Runs one of the modules beside this one."""
    quantizer, method, manifest, folder, out = sys.argv[1:]
    peer = importlib.import_module(f"benchmarks.int8.peers.by_{quantizer}")
    data = Calibration(Path(manifest), Path(folder))
    started = time.perf_counter()
    peer.quantize(Path(manifest).parent / "plain.onnx", method, data, Path(out))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_rss_mb()}))


if __name__ == "__main__":
    main()
