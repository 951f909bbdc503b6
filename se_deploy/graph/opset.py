"""A graph in a later opset, by ONNX's own converter."""

from __future__ import annotations

from onnx import ModelProto, version_converter

from se_deploy.errors import GraphError

#: Names of ONNX's own domain.
_OWN = ("", "ai.onnx")


def version(model: ModelProto) -> int:
    """The opset of ONNX's own operators; 0 where the file names none."""
    return max((entry.version for entry in model.opset_import if entry.domain in _OWN), default=0)


def raised(model: ModelProto, opset: int) -> ModelProto:
    """The same graph in `opset`, its metadata kept.

    Raises:
        GraphError: ONNX cannot convert it.
    """
    try:
        made = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises whatever its C++ does
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise GraphError(
            f"ONNX cannot convert opset {version(model)} to {opset}: {reason}", "export the checkpoint with that opset"
        ) from error
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return made
