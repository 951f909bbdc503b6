"""Finding and fusing: seconds and memory on `legacy_senet154`, and on 1, 4 and 16 times a stack of blocks: `python benchmarks/find.py`.

Aims: at most 1 s and 3 times the file's size for legacy_senet154, time linear in nodes (a ratio of seconds per node near 1).
Each measurement is a process of its own, the fastest of five. Seconds are the processor's; memory is what the process needs above what
reading the file took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_TIMES = 5
_CHANNELS, _REDUCED = 64, 16
_STACK = 50


def main() -> None:
    """Prints a row per file, and the seconds per node of each stack beside those of the smallest."""
    if len(sys.argv) == 3 and sys.argv[1] == "--measure":
        print(json.dumps(_measured(Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {"legacy_senet154": _senet154(Path(folder))} | {f"{n}x {_STACK} blocks": _stacked(Path(folder), n) for n in (1, 4, 16)}
        rows = {name: _run(file) for name, file in files.items()}
    first = next(row["seconds"] / row["nodes"] for name, row in rows.items() if name.startswith("1x"))
    print(f"{'file':20} {'nodes':>6} {'blocks':>6} {'MB':>6} {'seconds':>8} {'memory / file':>13} {'seconds per node':>17}")
    for name, row in rows.items():
        ratio = row["seconds"] / row["nodes"] / first
        line = f"{name:20} {row['nodes']:6} {row['blocks']:6} {row['mb']:6.1f} {row['seconds']:8.2f} {row['memory']:13.2f}"
        print(f"{line} {ratio:16.2f}x")


def _run(file: Path) -> dict[str, float]:
    runs = []
    for _ in range(_TIMES):
        done = subprocess.run([sys.executable, __file__, "--measure", str(file)], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    return min(runs, key=lambda run: float(run["seconds"]))


def _measured(file: Path) -> dict[str, float]:
    from se_deploy.graph.fuse import fuse
    from se_deploy.graph.view import View

    model = onnx.load(file)
    View(helper.make_model(helper.make_graph([], "warm", [], [])))  # imports
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.process_time()
    result = fuse(model)
    seconds = time.process_time() - start
    size = file.stat().st_size
    # The model in memory is once the file; what fusing added comes on top.
    memory = (process.memory_info().rss - before + size) / size
    return {"nodes": len(model.graph.node), "blocks": len(result.fused), "mb": size / 1e6, "seconds": seconds, "memory": memory}


def _senet154(folder: Path) -> Path:
    import timm
    import torch

    from se_deploy.networks.exporting import to_onnx

    file = folder / "senet154.onnx"
    module = timm.create_model("legacy_senet154").eval()
    onnx.save(to_onnx(module, torch.zeros(2, 3, 64, 64), "torchscript", opset=17, dynamic={0: "batch"}), file)
    return file


def _stacked(folder: Path, times: int) -> Path:
    """Convolutions with a block behind each, 50 for each time."""
    rng = np.random.default_rng(0)
    shapes = {"k": (_CHANNELS, _CHANNELS, 1, 1), "w1": (_REDUCED, _CHANNELS, 1, 1), "w2": (_CHANNELS, _REDUCED, 1, 1)}
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    for i in range(_STACK * times):
        weights += [numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), f"{key}{i}") for key, shape in shapes.items()]
        steps = (
            ("Conv", (f"x{i}", f"k{i}"), "c"), ("GlobalAveragePool", (f"c{i}",), "p"),
            ("Conv", (f"p{i}", f"w1{i}"), "h"), ("Relu", (f"h{i}",), "a"),
            ("Conv", (f"a{i}", f"w2{i}"), "v"), ("Sigmoid", (f"v{i}",), "g"), ("Mul", (f"c{i}", f"g{i}"), "m"),
        )  # fmt: skip
        nodes += [helper.make_node(kind, inputs, [f"{output}{i}"], f"{output}{i}") for kind, inputs, output in steps]
        nodes.append(helper.make_node("Add", [f"x{i}", f"m{i}"], [f"x{i + 1}"], f"add{i}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", _CHANNELS, 14, 14]) for name in ("x0", f"x{_STACK * times}")]
    graph = helper.make_graph(nodes, "stack", ends[:1], ends[1:], weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = folder / f"stack{times}.onnx"
    onnx.save(model, file)
    return file


if __name__ == "__main__":
    main()
