"""Calibration's memory and time with 50, 250, 1,000 and 5,000 images, on the same network in one run.

    python benchmarks/memory.py [NETWORK] [--size 96] [--counts 50,250,1000,5000] [--fp16]

Exports the network (random weights: memory does not depend on them), draws images of many sizes, and runs `se-deploy calibrate` on a
folder of each number of them in a process of its own, or with --fp16 `se-deploy build --fp16 --calib`, which looks for what FP16 cannot
hold. The aim is a ratio of 1: memory is the model's and one image's, however many come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def main() -> None:
    """Prints a row per number of images, with the ratio of its memory to the first's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="mobilenetv3_small_100")
    parser.add_argument("--size", type=int, default=96, help="the network's input; images have sides of 1 to 3 times as much")
    parser.add_argument("--counts", default="50,250,1000,5000")
    parser.add_argument("--fp16", action="store_true", help="an FP16 build's memory and time, not a calibration's")
    options = parser.parse_args()
    command = ["build", "--fp16", "--backend", "onnxruntime"] if options.fp16 else ["calibrate"]
    counts = [int(count) for count in options.counts.split(",")]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        drawn = _draw(root / "imgs", max(counts), options.size)
        sizes = f"1x3x{options.size}x{options.size}"
        _se_deploy("export", f"timm:{options.network}", "--random", "--input", f"x={sizes}", "-o", str(root / "model"))
        print(f"{'images':>7} {'peak MB':>9} {'ratio':>7} {'seconds':>9}")
        first = None
        for count in counts:
            calib = _linked(drawn[:count], root / f"{count}")
            result = _se_deploy(*command, str(root / "model"), "--calib", str(calib), "-o", str(root / f"{count}.json"))
            peak = result["peak_rss_mb"]
            first = first or peak
            print(f"{result['images']:>7} {peak:>9.1f} {peak / first:>7.3f} {result['seconds']:>9.1f}", flush=True)


def _draw(folder: Path, count: int, size: int) -> list[Path]:
    """Noise images of differing sizes: nothing about memory depends on what they show."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = [folder / f"{number:05d}.png" for number in range(count)]
    for path in made:
        height, width = rng.integers(size, 3 * size, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, compress_level=1)
    return made


def _linked(images: list[Path], folder: Path) -> Path:
    """The images in a folder of their own, so that what a list of names costs is counted too."""
    folder.mkdir()
    for image in images:
        os.link(image, folder / image.name)
    return folder


def _se_deploy(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "se_deploy", *words, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
