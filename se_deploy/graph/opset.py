"""A graph in a later opset, by ONNX's own converter."""

from __future__ import annotations

from onnx import ModelProto, version_converter

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph.inline import without_foreign_functions


def raised(model: ModelProto, opset: int) -> ModelProto:
    """The same graph in `opset`, its metadata kept. Functions of SqueezeExcite nodes are written for it, others written out: bodies keep
    the opset that they were written in, which a model may not mix with another.

    Raises:
        GraphError: ONNX cannot convert it.
    """
    try:
        made = version_converter.convert_version(without_foreign_functions(model), opset)
    except Exception as error:  # the converter raises whatever its C++ does
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise GraphError(
            f"ONNX cannot convert opset {op.opset_of(model)} to {opset}: {reason}", "export the checkpoint with that opset"
        ) from error
    # The converter forgets metadata and functions.
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    op.declare(made)
    return made
