"""`fuse`: the rewrite alone, an ONNX file with a SqueezeExcite node for each SE block, or the plain graph again."""

from __future__ import annotations

import time
from pathlib import Path

from onnx import ModelProto

from se_deploy import op
from se_deploy.artifacts import Progress, Result, peak_rss_mb, silent
from se_deploy.errors import ArtifactError
from se_deploy.graph.fuse import fuse as fused
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import read, write
from se_deploy.graph.unfuse import unfuse as unfused
from se_deploy.stages.inspect import onnx_file

_STEPS = 3


def fuse(model: str | Path, output: str | Path, *, unfuse: bool = False, force: bool = False, progress: Progress = silent) -> Result:
    """Writes a model with one SqueezeExcite node for each SE block, its nodes named by module; computes the same.

    Args:
        model: an .onnx file, or a model directory (its model.onnx is taken). It is not changed.
        output: the .onnx file to write.
        unfuse: write the plain graph instead, every SqueezeExcite node spelled out in ONNX's own operators.
        force: overwrite `output` if it is there.
        progress: called at each of three steps.

    Returns:
        `se_blocks` is the number of SqueezeExcite nodes in what was written.

    Raises:
        GraphError: the model cannot be read, or has a graph that cannot be followed.
        ArtifactError: `output` is there already, or cannot be written.
    """
    started = time.perf_counter()
    path, out = onnx_file(model), Path(output)
    if out.is_dir():
        raise ArtifactError(f"{out} is a folder", "name a file with -o, such as fused.onnx")
    if out.exists() and not force:
        raise ArtifactError(f"{out} is there already", "add --force to overwrite it, or name another file with -o")
    progress(f"read {path.name}", 0, _STEPS)
    graph = read(path)
    name_by_module(graph)
    progress("rewrite SE blocks", 1, _STEPS)
    new, notes = _plain(graph) if unfuse else _fused(graph)
    progress(f"write {out.name}", 2, _STEPS)
    write(new, out)
    progress(f"write {out.name}", _STEPS, _STEPS)
    return Result(output=out, se_blocks=_count(new), seconds=time.perf_counter() - started, peak_rss_mb=peak_rss_mb(), notes=notes)


def _count(model: ModelProto) -> int:
    return sum(op.variant_of(node) is not None for node in model.graph.node)


def _plain(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    notes = () if _count(model) else ("there is no SqueezeExcite node: the graph is as it was",)
    return unfused(model), notes


def _fused(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    result = fused(model)
    notes = []
    if not result.found.matches:
        notes.append("no SE block was found: the graph is as it was")
    if result.found.rejections:
        notes.append(f"near misses left alone: {len(result.found.rejections)}; `se-deploy inspect` says why")
    return result.model, tuple(notes)
