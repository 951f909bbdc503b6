"""The typed ONNX file of an engine: a model whose types are the precision, as its backend takes it."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto

from se_deploy import backends, op
from se_deploy.artifacts import Judged, Precision, Scales
from se_deploy.backends import Backend
from se_deploy.errors import ArtifactError
from se_deploy.graph import shapes, silu, strong
from se_deploy.graph.half import to_half
from se_deploy.graph.inline import inlined
from se_deploy.graph.read import read
from se_deploy.quant import scales as measured
from se_deploy.quant import sites
from se_deploy.quant.place import place
from se_deploy.stages.steps.engines import Built
from se_deploy.stages.steps.repaired import divided, prepared, shifted
from se_deploy.stages.steps.strong_int8 import strongly_typed_int8


def with_types(
    model: ModelProto,
    precision: Precision,
    backend: Backend,
    *,
    scales: Scales | None,
    plugin: bool,
    notes: list[str],
    floats: Collection[str] = (),
    wide: Collection[str] = (),
) -> ModelProto:
    """The model in a precision; the one that is given may be changed.

    Args:
        model: the export's fused graph in FP32.
        precision: "int8" takes `scales`.
        backend: whose rules hold.
        scales: a scale file of the model's graph.
        plugin: whether SqueezeExcite nodes are for a plugin; else, where types are laws, they are written out.
        notes: takes remarks.
        floats: names of nodes that "int8" leaves in float.
        wide: names of nodes that stay in FP32 where others become FP16.

    Raises:
        QuantError: the graph cannot be quantized with these scales.
        GraphError: the backend does not take the graph.
    """
    plain = backend.strongly_typed and not plugin
    if scales is not None:
        sites.name_nodes(model)
        model = prepared(model, scales)
    if scales is not None and backend.strongly_typed:
        model = strongly_typed_int8(
            model, scales.tensors, notes, integer_blocks=not plain, floats=floats, wide=wide, shifted=shifted(scales)
        )
    elif scales is not None:
        signed = backend.signed_int8
        planes = not signed and _on_planes(model)
        place(model, scales.tensors, signed=signed, floats=floats, divided=divided(scales), shifted=shifted(scales))
        if not signed:
            silu.joined(model)
            op.declare(model, planes=planes)
    elif precision == "fp16":
        model = to_half(model, notes, wide)
    if plain:
        model = inlined(model)
    if backend.strongly_typed:
        strong.check(model)
    return model


def _on_planes(model: ModelProto) -> bool:
    """Whether all that SqueezeExcite nodes read is known to be (N, C, H, W) with H > 1."""
    read = [node.input[0] for node in model.graph.node if op.variant_of(node)]
    known = shapes.infer(model) if read else {}
    sizes = [known[name].shape if name in known else None for name in read]
    return all(size is not None and len(size) == 4 and isinstance(size[2], int) and size[2] > 1 for size in sizes)


def typed(engine: Built) -> ModelProto:
    """The graph that an engine was built from: the engine itself where it is an ONNX file, written again for a plan.

    Raises:
        ArtifactError: the model or the scales that it was built from are gone or have changed.
        GraphError: the file cannot be read.
    """
    if engine.path.suffix == ".onnx":
        return read(engine.path)
    manifest = engine.manifest
    scales = None
    if manifest.precision == "int8":
        if manifest.scales is None:
            raise ArtifactError(f"{engine.path} names no scales, so its graph cannot be written again", "build it again")
        file = engine.path.with_name(manifest.scales.file)
        scales = measured.read(file)
        measured.check(scales, file, graph=manifest.model.sha256, preprocess=manifest.preprocess)
    model = read(engine.folder / engine.model.model.file)
    backend = backends.get(manifest.backend)
    plugin = manifest.plugin is not None
    floats = {fell.name for fell in manifest.accuracy.fallback} if isinstance(manifest.accuracy, Judged) else ()
    wide = {kept.name for kept in manifest.accuracy.in_fp32} if manifest.accuracy else ()
    return with_types(model, manifest.precision, backend, scales=scales, plugin=plugin, notes=[], floats=floats, wide=wide)
