"""What `export`'s proofs cost: its time over that of a bare torch.onnx.export, in one run, interleaved.

    python benchmarks/pipeline.py [--network seresnet50] [--rounds 3]

Both write an ONNX file of the same network, with a dynamic batch, by the dynamo exporter. `export` also loads the checkpoint, asks
PyTorch, runs the plain and the fused graph by ONNX Runtime, and writes weights, reference and manifest. Imports are not counted: a
small network is exported first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import timm
import torch

import se_deploy


def bare(module: torch.nn.Module, file: Path) -> float:
    """Seconds of a bare export at the same opset and with the same dynamic batch."""
    started = time.perf_counter()
    example = torch.zeros(2, *module.pretrained_cfg["input_size"])  # type: ignore[index]
    shapes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), file, dynamo=True, verbose=False, opset_version=20, dynamic_shapes=shapes)
    return time.perf_counter() - started


def ours(checkpoint: Path, folder: Path, steps: dict[str, float]) -> float:
    """Seconds of `se_deploy.export`; adds each step's to `steps`."""
    started = last = time.perf_counter()
    doing = ""

    def note(what: str, _done: int, _total: int | None) -> None:
        nonlocal last, doing
        now = time.perf_counter()
        steps[doing] = steps.get(doing, 0) + now - last
        last, doing = now, what

    se_deploy.export(checkpoint, output=folder, force=True, progress=note)
    note("", 0, None)
    return time.perf_counter() - started


def main() -> None:
    """Prints the medians, their ratio, and where our time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="seresnet50", help="a network of timm's")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        torch.manual_seed(0)
        module = timm.create_model(asked.network).eval()
        torch.save(module.state_dict(), folder / f"{asked.network}.pth")
        small = timm.create_model("seresnet18", num_classes=4).eval()
        torch.save(small.state_dict(), folder / "seresnet18.pth")
        ours(folder / "seresnet18.pth", folder / "small", {})
        steps: dict[str, float] = {}
        alone, whole = [], []
        for _ in range(asked.rounds):
            alone.append(bare(module, folder / "bare.onnx"))
            whole.append(ours(folder / f"{asked.network}.pth", folder / "ours", steps))
    print(f"{asked.network}, medians of {asked.rounds} rounds, {torch.get_num_threads()} threads")
    print(f"  torch.onnx.export  {statistics.median(alone):6.2f} s  ({min(alone):.2f} to {max(alone):.2f})")
    print(f"  se_deploy.export   {statistics.median(whole):6.2f} s  ({min(whole):.2f} to {max(whole):.2f})")
    print(f"  ratio              {statistics.median(whole) / statistics.median(alone):6.2f}")
    for step, seconds in steps.items():
        print(f"    {step or 'start':28s} {seconds / asked.rounds:6.2f} s")


if __name__ == "__main__":
    main()
