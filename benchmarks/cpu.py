"""INT8 against FP32, and the SE tax, on every CPU backend that works here, in one run: `python benchmarks/cpu.py [--batch 1 8]`.

Exports seresnet50, resnet50 and efficientnet_b0 at 224x224 with random weights and builds each in FP32 and INT8, calibrated on drawn
images, with and without the repairs that these show to help (they leave a Mul or an Add in the graph, and cost time). For each backend
and batch all engines are measured in turns; a speed-up is FP32's median over INT8's of the same backend, the SE tax seresnet50's over
resnet50's. Aims, on a CPU with VNNI or AMX: seresnet50 1.8 on ONNX Runtime and 4 on OpenVINO, efficientnet_b0 1 on OpenVINO. What falls
short is marked. [ ] are 95 % intervals.

What was looked at, on an AMD EPYC with VNNI and without AMX, by both libraries' profiles:

- ONNX Runtime, seresnet50: 10.6 of 23.4 ms on one thread were integer convolutions, and 10 were around the SE blocks. The convolutions
  work in (N, H, W, C), the SE body's GlobalAveragePool, Flatten and Reshape did not, so each map was transposed and back. With the mean
  as ReduceMean over W and a pool over H the body follows them: 16.7 instead of 20.0 ms, efficientnet_b0 5.6 instead of 6.0 (one thread,
  in turns). One ReduceMean over both is as fast, but adds up one by one at batch 1, in another order than in a batch: rows of an INT8
  efficientnet_b0 were not what they are alone. What is left is dequantizing (twice: for the mean and for the product), and the float
  product and add. Quantizing mean, gate and product would run all of it in integers, with three more roundings: not done.
- ONNX Runtime, efficientnet_b0: Sigmoid and Mul behind one DequantizeLinear are not fused to QuickGelu, since that is doubled first.
  Written as that one node: 7.6 instead of 11.5 ms on one thread.
- OpenVINO, seresnet50: every convolution is in integers, the SE body's product, add and Relu are one kernel. One thread: convolutions
  34.6 ms in FP32 and 10.4 in INT8, 3.3 times, all else 5.5 and 3.8. FCs as 1x1 convolutions: no difference. Unsigned activations: none.
  A pair between the last convolution and the SE block too: 3 % at batch 1 and 12 % at batch 8, for one rounding more: not done. A pair
  on every convolution's output makes efficientnet_b0 slower, 1.2 instead of 1.6.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import se_deploy
from se_deploy import backends
from se_deploy.verify.intervals import Interval, ratio
from se_deploy.verify.latency import busy, interleaved, warmed

NETWORKS = ("seresnet50", "resnet50", "efficientnet_b0")
BACKENDS = ("onnxruntime", "openvino")
#: What is built of each network: FP32, INT8 as it comes, and INT8 calibrated with `--repairs none`.
FP32, INT8, UNREPAIRED = VARIANTS = ("fp32", "int8", "unrepaired")
AIMS = {("onnxruntime", "seresnet50"): 1.8, ("openvino", "seresnet50"): 4.0, ("openvino", "efficientnet_b0"): 1.0}
IMAGES, SIZE = 32, 224

#: An engine's network and variant, as "seresnet50 int8".
Engines = dict[str, Path]
#: Milliseconds of each engine: the median of each turn.
Times = dict[str, list[float]]


def main() -> None:
    """Prints a row a network, and the tax, for each backend and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--duration", type=float, default=3.0, help="seconds each engine is measured")
    parser.add_argument("--threads", type=int, help="left out: the backend's own choice")
    options = parser.parse_args()
    print(f"{_cpu()}; INT8 in integers by: {', '.join(_integers()) or 'nothing that /proc/cpuinfo tells'}")
    if remark := busy():
        print(f"note: {remark}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        models = _models(root)
        for backend in BACKENDS:
            if missing := backends.get(backend).missing():
                print(f"{backend}: {missing}")
                continue
            engines = _engines(backend, models, root)
            for batch in options.batch:
                times = _times(backend, engines, batch, options.threads, options.duration)
                print("\n".join(_rows(backend, batch, times)), flush=True)


def _models(root: Path) -> dict[str, Path]:
    """Exported, and calibrated both ways: `root / NETWORK.VARIANT.json`."""
    _draw(root / "imgs")
    models = {name: se_deploy.export(f"timm:{name}", random=True, output=root / name).output for name in NETWORKS}
    for name, model in models.items():
        se_deploy.calibrate(model, calib=root / "imgs", output=root / f"{name}.{INT8}.json")
        se_deploy.calibrate(model, calib=root / "imgs", repairs="none", output=root / f"{name}.{UNREPAIRED}.json")
    return models


def _engines(backend: str, models: dict[str, Path], root: Path) -> Engines:
    made: Engines = {}
    for name, model in models.items():
        for variant in VARIANTS:
            out, fp32 = root / f"{name}.{backend}.{variant}.onnx", variant == FP32
            scales = None if fp32 else root / f"{name}.{variant}.json"
            se_deploy.build(model, backend=backend, fp32=fp32, int8=not fp32, scales=scales, output=out)
            made[f"{name} {variant}"] = out
    return made


def _times(backend: str, engines: Engines, batch: int, threads: int | None, duration: float) -> Times:
    images = np.random.default_rng(0).standard_normal((batch, 3, SIZE, SIZE)).astype(np.float32)
    with ExitStack() as stack:
        calls = {}
        for key, path in engines.items():
            runner = stack.enter_context(backends.get(backend).open(path, threads=threads))
            calls[key] = partial(runner.run, {runner.inputs[0].name: images})
        blocks = interleaved(calls, warmed(calls, 0.5), duration=duration)
    # The median of a block: on a busy machine a mean says how often something else was running.
    return {key: [median(block) for block in measured] for key, measured in blocks.items()}


def _rows(backend: str, batch: int, times: Times) -> list[str]:
    head = f"{backend:<12} batch {batch}"
    rows = []
    for name in NETWORKS:
        fp32, int8, unrepaired = (times[f"{name} {variant}"] for variant in VARIANTS)
        faster, aim = ratio(fp32, int8), AIMS.get((backend, name))
        verdict = "" if aim is None else f"  aim {aim:g}" + ("  FALLS SHORT" if faster.value < aim else "")
        said = f"{_told(faster)} times, without repairs {_told(ratio(fp32, unrepaired))}{verdict}"
        rows.append(f"{head}  {name:<16} FP32 {median(fp32):7.2f} ms  INT8 {median(int8):7.2f} ms  {said}")
    taxes = (ratio(times[f"seresnet50 {variant}"], times[f"resnet50 {variant}"]) for variant in (FP32, INT8))
    told = ", ".join(f"{variant.upper()} {_tax(tax)}" for variant, tax in zip((FP32, INT8), taxes, strict=True))
    return [*rows, f"{head}  SE tax           {told}"]


def _told(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _tax(found: Interval) -> str:
    value, low, high = (100 * (part - 1) for part in (found.value, found.low, found.high))
    return f"{value:+.1f} % [{low:+.1f}, {high:+.1f}]"


def _cpu() -> str:
    return backends.get("onnxruntime").device()


def _integers() -> list[str]:
    """The CPU's instructions for sums of int8 products."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    return sorted(flag for flag in flags if flag.endswith("vnni") or flag == "amx_int8")


def _draw(folder: Path) -> None:
    """Patches of noise, so that something is left of them after the first pooling."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        patches = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((256, 256), Image.Resampling.NEAREST).save(folder / f"{number}.png", compress_level=1)


if __name__ == "__main__":
    main()
