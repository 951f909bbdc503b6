"""The typed ONNX file that an engine was built from: the engine itself on ONNX Runtime, written again for one that is a plan."""

from __future__ import annotations

from onnx import ModelProto

from se_deploy import backends
from se_deploy.errors import ArtifactError
from se_deploy.graph.half import to_half
from se_deploy.graph.read import read
from se_deploy.quant import scales as measured
from se_deploy.quant.place import place
from se_deploy.stages.steps.engines import Built


def typed(engine: Built) -> ModelProto:
    """The graph whose types are the engine's precision.

    Raises:
        ArtifactError: the model or the scales that it was built from are gone or have changed.
        GraphError: the file cannot be read.
    """
    if engine.path.suffix == ".onnx":
        return read(engine.path)
    model = read(engine.folder / engine.model.model.file)
    match engine.manifest.precision:
        case "fp32":
            return model
        case "fp16":
            return to_half(model)
    if engine.manifest.scales is None:
        raise ArtifactError(f"{engine.path} names no scales, so its graph cannot be written again", "build it again")
    file = engine.path.with_name(engine.manifest.scales.file)
    scales = measured.read(file)
    measured.check(scales, file, graph=engine.manifest.model.sha256, preprocess=engine.manifest.preprocess)
    place(model, scales.tensors, signed=backends.get(engine.manifest.backend).signed_int8)
    return model
