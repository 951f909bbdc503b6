"""TensorRT-RTX engines with the plugin and with SE blocks as plain operators: build time and size, in one run.

    python benchmarks/build.py [NETWORK …] [--target sm_89] [--rounds 5]

Exports each network (random weights), then builds both engines in turns, in FP16 and in INT8 (calibrated on drawn images); no GPU is
needed. Prints medians, and the median of the ratios of each round: the aim for time is at most 1.3. Time is the whole of `se-deploy build`,
scales given; the plugin's library is compiled before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

NETWORKS = ("seresnet50", "efficientnet_b0")
IMAGES = 4


@dataclass(frozen=True)
class Engine:
    """What one build took and gave."""

    seconds: float
    megabytes: float


def main() -> None:
    """Prints a row per network and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--target", default="sm_89")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _se_deploy("plugin", "build")
    print(f"{'network':<24} {'':<5} {'plugin s':>9} {'inlined s':>10} {'ratio':>6} {'plugin MB':>10} {'inlined MB':>11} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _draw(root / "imgs")
        for network in options.networks:
            model = root / network
            _se_deploy("export", f"timm:{network}", "--random", "-o", str(model))
            scales = ("--scales", _se_deploy("calibrate", str(model), "--calib", str(root / "imgs"), "-o", str(root / "s.json"))["output"])
            for precision, given in (("fp16", ()), ("int8", scales)):
                words = (str(model), f"--{precision}", *given, "--backend", "tensorrt-rtx", "--target", options.target)
                print(f"{network:<24} {precision:<5} {_row([_round(words, number) for number in range(options.rounds)])}", flush=True)


def _round(words: tuple[str, ...], number: int) -> tuple[Engine, Engine]:
    """Both engines, the order turned round every time: (with the plugin, inlined)."""
    order = ("auto", "off") if number % 2 == 0 else ("off", "auto")
    made = {plugin: _built(words, plugin) for plugin in order}
    return made["auto"], made["off"]


def _built(words: tuple[str, ...], plugin: str) -> Engine:
    result = _se_deploy("build", *words, "--plugin", plugin, "--force")
    return Engine(result["seconds"], Path(result["output"]).stat().st_size / 1e6)


def _row(rounds: list[tuple[Engine, Engine]]) -> str:
    with_plugin, inlined = zip(*rounds, strict=True)
    seconds = median(e.seconds for e in with_plugin), median(e.seconds for e in inlined)
    sizes = with_plugin[0].megabytes, inlined[0].megabytes
    ratio = median(a.seconds / b.seconds for a, b in rounds)
    return f"{seconds[0]:>9.2f} {seconds[1]:>10.2f} {ratio:>6.2f} {sizes[0]:>10.1f} {sizes[1]:>11.1f} {sizes[0] / sizes[1]:>6.2f}"


def _draw(folder: Path) -> None:
    """Noise images: neither time nor size depends on what they show."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(folder / f"{number}.png", compress_level=1)


def _se_deploy(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "se_deploy", *words, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
