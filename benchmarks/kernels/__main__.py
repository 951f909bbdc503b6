"""The kernels against torch.compile of the same block, in one run on one GPU.

    python -m benchmarks.kernels [--batches 1,8,32,128] [--networks SE-ResNet-50,…]

A row per SE shape, type and batch: microseconds of both (medians; the tensors go round through more memory than L2 holds), the share of
the copy bandwidth measured in the same run for x + residual + y, and the ratio. Each kernel's y is compared with PyTorch's first.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels import blocks, native, shapes
from se_deploy import op

ROUNDS = 50


def main() -> None:
    """Prints the table; one line and exit code 1 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,8,32,128")
    parser.add_argument("--networks", default=",".join(network.title for network in shapes.NETWORKS))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: this needs an NVIDIA GPU, PyTorch sees none; nothing was measured")
    major, minor = torch.cuda.get_device_capability()
    with tempfile.TemporaryDirectory() as folder:
        library = native.build(Path(folder), 10 * major + minor)
        copy = copy_bandwidth()
        print(f"{torch.cuda.get_device_name()}; copy {copy / 1e9:.0f} GB/s; PyTorch {torch.__version__}\n")
        print(
            "| network | block | type | batch | kernel us | share of copy | torch.compile us | ratio |\n|---|---|---|---|---|---|---|---|"
        )
        for network in shapes.NETWORKS:
            if network.title in options.networks.split(","):
                for block in shapes.blocks_of(network):
                    for dtype in ("float16", "int8"):
                        for batch in map(int, options.batches.split(",")):
                            print(row(library, network, block, dtype, batch, copy), flush=True)


def row(library: Any, network: shapes.Network, block: shapes.Block, dtype: str, batch: int, copy: float) -> str:
    """Measures one node both ways."""
    int8 = dtype == "int8"
    variant = op.Variant(network.act, network.gate, "add" if network.residual else "none", "relu" if network.residual else "none", int8)
    node = native.node_of(variant, dtype, batch, block.c, block.r, block.height * block.width, blocks.attributes(network))
    size = batch * block.c * block.height * block.width * (1 if int8 else 2)
    moved = size * (3 if network.residual else 2)
    sets = [drawn(block, dtype, batch, network.residual, seed) for seed in range(max(2, -(-3 * l2_bytes() // moved)))]
    workspace = torch.empty(library.bridgeWorkspace(ctypes.byref(node)), dtype=torch.uint8, device="cuda")
    compiled = torch.compile(blocks.block(network, int8), dynamic=False)
    inputs = [{name: tensor for name, tensor in tensors.items() if name != "y"} for tensors in sets]

    native.launch(library, node, sets[0], workspace)
    expected = compiled(inputs[0]).float()
    difference = (sets[0]["y"].float() - expected).abs().max().item()
    allowed = 1.0 if int8 else 2e-3 * expected.abs().max().item()
    if not difference <= allowed:
        raise RuntimeError(f"{network.title} {block} {dtype} batch {batch}: y differs by {difference}")

    ours = timed([lambda t=t: native.launch(library, node, t, workspace) for t in sets])  # type: ignore[misc]
    theirs = timed([lambda t=t: compiled(t) for t in inputs])  # type: ignore[misc]
    shape = f"{block.c}x{block.height}x{block.width}"
    return (
        f"| {network.title} | {shape} | {dtype} | {batch} | {ours * 1e6:.1f} | {moved / ours / copy:.0%} | {theirs * 1e6:.1f} "
        f"| {theirs / ours:.2f} |"
    )


def drawn(block: shapes.Block, dtype: str, batch: int, residual: bool, seed: int) -> dict[str, Any]:
    """Random tensors of a block, y among them."""
    random = torch.Generator("cuda").manual_seed(seed)
    shape = (batch, block.c, block.height, block.width)

    def large() -> Any:
        if dtype == "int8":
            return torch.randint(-128, 128, shape, dtype=torch.int8, device="cuda", generator=random)
        return torch.randn(shape, device="cuda", generator=random).half()

    def small(*size: int) -> Any:
        return torch.randn(size, device="cuda", generator=random) / size[-1] ** 0.5

    tensors = {"x": large(), "w1": small(block.r, block.c), "b1": small(block.r), "w2": small(block.c, block.r), "b2": small(block.c)}
    if residual:
        tensors["residual"] = large()
    return tensors | {"y": torch.empty_like(tensors["x"])}


def l2_bytes() -> int:
    """Of the current device."""
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def copy_bandwidth() -> float:
    """Bytes read and written a second by a copy within the device's memory."""
    source = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / timed([lambda: target.copy_(source)])


def timed(calls: list[Callable[[], Any]]) -> float:
    """Median seconds of a call on the device; each is recorded as a CUDA graph, so that Python's share is not measured."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    seconds = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        seconds.append(float(start.elapsed_time(end)) / 1e3 / len(calls))
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
