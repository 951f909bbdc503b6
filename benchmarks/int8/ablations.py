"""Placements that `build` does not choose here, of the same scales: what SE blocks and the ends of a network cost in INT8."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from se_deploy.artifacts import Scales
from se_deploy.graph.read import read, write
from se_deploy.quant import scales as measured
from se_deploy.quant import sites
from se_deploy.quant.place import place
from se_deploy.stages.steps.repaired import prepared, shifted


def integer_blocks(model: Path, scales: Path, out: Path) -> None:
    """SqueezeExcite nodes read and give int8: the form of TensorRT's plugin."""
    graph, found = _repaired(model, scales)
    place(graph, found.tensors, shifted=shifted(found), integer_blocks=True)
    write(graph, out)


def ends_in_float(model: Path, scales: Path, out: Path) -> None:
    """The first and the last layer with weights stay in FP32."""
    graph, found = _repaired(model, scales)
    layers = sites.find(graph).layers
    place(graph, found.tensors, shifted=shifted(found), floats={graph.graph.node[layer.index].name for layer in (layers[0], layers[-1])})
    write(graph, out)


def _repaired(model: Path, scales: Path) -> tuple[ModelProto, Scales]:
    """The graph as `build` quantizes it, and what was measured."""
    graph, found = read(model), measured.read(scales)
    sites.name_nodes(graph)
    return prepared(graph, found), found
