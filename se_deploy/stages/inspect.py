"""`inspect`: every SE block of an ONNX file, every near miss with its reason, parameters and multiply-adds."""

from __future__ import annotations

from pathlib import Path

from se_deploy import artifacts
from se_deploy.artifacts import ModelManifest, Report
from se_deploy.errors import ArtifactError
from se_deploy.graph.cost import cost
from se_deploy.graph.find import find, match_report
from se_deploy.graph.names import name_by_module
from se_deploy.graph.read import read


def inspect(model: str | Path) -> Report:
    """Reports on a model, plain or fused; nothing is written.

    Args:
        model: an .onnx file, or a model directory (its model.onnx is taken).

    Raises:
        GraphError: the file is missing, is not an ONNX model, or has a graph that cannot be followed.
    """
    path = onnx_file(model)
    graph = read(path)
    name_by_module(graph)
    found = find(graph)
    counts = cost(graph, found, _sizes(path))
    return Report(
        blocks=tuple(match_report(match, block.macs) for match, block in zip(found.matches, counts.blocks, strict=True)),
        fused=sum(match.fused for match in found.matches),
        rejected=found.rejections,
        params=counts.params,
        se_params=sum(block.params for block in counts.blocks),
        se_weights=sum(block.weights for block in counts.blocks),
        macs=counts.macs,
        se_macs=sum(block.macs for block in counts.blocks),
        notes=counts.notes,
    )


def onnx_file(model: str | Path) -> Path:
    """The ONNX file that MODEL names: itself, or a model directory's model.onnx."""
    path = Path(model)
    return path / "model.onnx" if path.is_dir() else path


def _sizes(path: Path) -> dict[str, tuple[int, ...]]:
    """The input sizes that the export's manifest says a model is meant for; none where no manifest describes this file."""
    try:
        manifest = artifacts.read(ModelManifest, path.with_name("manifest.json"))
    except ArtifactError:
        return {}
    described = path.name in (manifest.model.file, manifest.plain.file)
    return {spec.name: spec.opt for spec in manifest.inputs} if described else {}
