"""Calibration's memory and time with 50 and with 500 images, on the same network in one run.

    python benchmarks/memory.py [NETWORK] [--counts 50,500]

Exports the network (random weights: memory does not depend on them), draws the images, and runs `se-deploy calibrate` on each number
of them in a process of its own. The aim is a ratio of 1: memory is the model's and one image's, whatever their number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def main() -> None:
    """Prints a row per number of images, and the ratio of the last row's memory to the first's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="seresnet50")
    parser.add_argument("--counts", default="50,500")
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _draw(root / "imgs", max(counts))
        _se_deploy("export", f"timm:{options.network}", "--random", "-o", str(root / "model"))
        print(f"{'images':>7} {'peak MB':>9} {'seconds':>9}")
        peaks = []
        for count in counts:
            words = ("--calib", str(root / "imgs"), "--images", str(count), "-o", str(root / f"{count}.json"))
            result = _se_deploy("calibrate", str(root / "model"), *words)
            peaks.append(result["peak_rss_mb"])
            print(f"{result['images']:>7} {result['peak_rss_mb']:>9.0f} {result['seconds']:>9.1f}", flush=True)
    print(f"peak memory, {counts[-1]} images over {counts[0]}: {peaks[-1] / peaks[0]:.3f}")


def _draw(folder: Path, count: int) -> None:
    """Noise images of differing sizes: nothing about memory depends on what they show."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(240, 400, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number:04d}.png", compress_level=1)


def _se_deploy(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "se_deploy", *words, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
