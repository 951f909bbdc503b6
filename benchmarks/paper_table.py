"""GFLOPs of the paper's networks, ours beside the paper's (Hu et al., 2018, table 2): `python benchmarks/paper_table.py [NAME ...]`.

Each network is built with random weights, exported by TorchScript and counted by `se_deploy.inspect`. The paper's GFLOPs are
multiply-adds; "without SE" leaves out what `inspect` counts in SE blocks.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timm
import torch
from torch import nn

from se_deploy.artifacts import Report
from se_deploy.networks.zoo import BUILDERS
from se_deploy.stages.inspect import inspect


@dataclass(frozen=True)
class Row:
    """A network of the paper: how we build it, its input's side, the paper's GFLOPs without and with SE (None: none given)."""

    build: Callable[[], nn.Module]
    side: int = 224
    without: float | None = None
    with_se: float | None = None


def _timm(name: str) -> Callable[[], nn.Module]:
    return partial(timm.create_model, name)


ROWS = {
    "SE-ResNet-50": Row(_timm("legacy_seresnet50"), without=3.86, with_se=3.87),
    "SE-ResNet-101": Row(_timm("legacy_seresnet101"), without=7.58, with_se=7.60),
    "SE-ResNet-152": Row(_timm("legacy_seresnet152"), without=11.30, with_se=11.32),
    "SE-ResNeXt-50": Row(_timm("legacy_seresnext50_32x4d"), without=4.24, with_se=4.25),
    "SE-ResNeXt-101": Row(_timm("legacy_seresnext101_32x4d"), without=7.99, with_se=8.00),
    "SE-BN-Inception": Row(BUILDERS["se_bn_inception"], without=2.03, with_se=2.04),
    "SE-Inception-ResNet-v2": Row(BUILDERS["se_inception_resnet_v2"], 299, without=11.75, with_se=11.76),
    "SENet-154": Row(_timm("legacy_senet154")),
}


def counted(network: nn.Module, side: int) -> Report:
    """What `inspect` says of a network's export."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        torch.onnx.export(network, (torch.zeros(1, 3, side, side),), path, dynamo=False, opset_version=17)
        return inspect(path)


def _cell(ours: int, papers: float | None) -> str:
    """Ours, the paper's, and the difference in percent."""
    giga = ours / 1e9
    return f"{giga:.3f} | -- | --" if papers is None else f"{giga:.3f} | {papers:.2f} | {100 * (giga / papers - 1):+.1f} %"


def lines(names: list[str]) -> Iterator[str]:
    """The table, as Markdown."""
    yield "| network | input | SE blocks | parameters | GFLOPs | paper | | with SE | paper | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name in names:
        row = ROWS[name]
        network = row.build().eval()
        report = counted(network, row.side)
        params = sum(p.numel() for p in network.parameters())  # the file's are fewer: BatchNorms are folded
        plain, all_of_it = _cell(report.macs - report.se_macs, row.without), _cell(report.macs, row.with_se)
        yield f"| {name} | {row.side} | {len(report.blocks)} | {params / 1e6:.2f} M | {plain} | {all_of_it} |"


if __name__ == "__main__":
    for line in lines(sys.argv[1:] or list(ROWS)):
        print(line, flush=True)
