"""Reading and writing ONNX files: what cannot be read is one clear line, what is written is whole."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto, external_data_helper, helper

from se_deploy.errors import GraphError
from se_deploy.files import replacing
from se_deploy.graph.folding import raw
from se_deploy.graph.protos import copied
from se_deploy.graph.view import ordered

#: What ONNX Runtime still promises to run, and the newest that the onnx package knows.
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)

#: Protobuf ends at 2 GiB; what is not weights needs room too.
LIMIT = 2**31 - 2**26

#: Smaller tensors stay in the model file: shapes, scalars.
_INLINE = 1024
_ALIGNMENT = 4096


def read(path: Path) -> ModelProto:
    """An ONNX file with its external data, its nodes in order.

    Raises:
        GraphError: the file is missing, truncated, not ONNX, of an opset out of reach, or its external data is missing or short; or
            its graph has a cycle or reads what nothing makes.
    """
    model = _parsed(path)
    _check_opset(model, path)
    _load_external(model, path)
    try:
        nodes = ordered(model)
    except GraphError as error:
        raise GraphError(f"{path}: {error.message}", error.hint) from error
    if nodes is not None:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return model


def _parsed(path: Path) -> ModelProto:
    try:
        model = onnx.load_model(path, load_external_data=False)
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror}", "name an .onnx file") from error
    except DecodeError as error:
        raise GraphError(f"{path} is truncated or not an ONNX file", "copy or export it again") from error
    if not model.graph.output or not model.opset_import:
        raise GraphError(f"{path} is not an ONNX model: it has no graph", "copy or export it again")
    return model


def _check_opset(model: ModelProto, path: Path) -> None:
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=None)
    if version is not None and version not in OPSETS:
        raise GraphError(
            f"{path} has ONNX opset {version}; {OPSETS[0]} to {OPSETS[-1]} can be read", f"export it with opset {min(20, OPSETS[-1])}"
        )


def _load_external(model: ModelProto, path: Path) -> None:
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        missing = sorted({e.value for t in _external(model) for e in t.external_data if e.key == "location"})
        what = ", ".join(missing) or "its external data"
        raise GraphError(f"{path} keeps weights in {what}, which is missing or too short", "copy that file beside the model") from error


def _external(model: ModelProto) -> Iterator[TensorProto]:
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            yield tensor


def size(model: ModelProto) -> int:
    """Bytes of a model's weights, which is nearly all that it takes in a file."""
    constants = (a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.HasField("t"))
    return sum(_bytes(t) for t in (*model.graph.initializer, *constants))


def _bytes(tensor: TensorProto) -> int:
    return int(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def write(model: ModelProto, path: Path, limit: int = LIMIT) -> None:
    """Writes a model whole or not at all. One larger than `limit` bytes gets its weights in a file beside it, named by their hash.

    Raises:
        ArtifactError: the folder cannot be made or written.
        GraphError: a single weight is larger than protobuf can hold.
    """
    giant = next((t.name for t in model.graph.initializer if _bytes(t) > LIMIT), None)
    if giant is not None:
        raise GraphError(f"the weight {giant} alone is over 2 GB, more than a tensor of an ONNX file can hold", "split that layer")
    if size(model) <= limit:
        with replacing(path) as beside:
            beside.write_bytes(model.SerializeToString())
        _remove_data(path, keep="")
        return
    light, data = _without_weights(model, path)
    with replacing(path.with_name(data)) as beside, beside.open("wb") as file:
        for offset, content in _placed(model):
            file.write(b"\0" * (offset - file.tell()) + content)
    with replacing(path) as beside:
        beside.write_bytes(light.SerializeToString())
    _remove_data(path, keep=data)


def _placed(model: ModelProto) -> Iterator[tuple[int, bytes]]:
    """Offset and content of each weight in the data file."""
    end = 0
    for tensor in model.graph.initializer:
        if _bytes(tensor) > _INLINE:
            content = raw(tensor)
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            yield start, content
            end = start + len(content)


def _without_weights(model: ModelProto, path: Path) -> tuple[ModelProto, str]:
    """The model with references for its weights, and the name of the file that they point to."""
    light = copied(model, without=("initializer",))
    digest, places = hashlib.sha256(), []
    for offset, content in _placed(model):
        digest.update(content)
        places.append((offset, len(content)))
    data = f"{path.name}.{digest.hexdigest()[:8]}.data"
    rest = iter(places)
    for tensor in model.graph.initializer:
        if _bytes(tensor) <= _INLINE:
            light.graph.initializer.append(tensor)
            continue
        offset, length = next(rest)
        reference = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", data), ("offset", offset), ("length", length)):
            reference.external_data.add(key=key, value=str(value))
        light.graph.initializer.append(reference)
    return light, data


def _remove_data(path: Path, keep: str) -> None:
    """Takes away the weights of the model that was there before."""
    old = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.data")
    for file in path.parent.iterdir():
        if old.fullmatch(file.name) and file.name != keep:
            file.unlink(missing_ok=True)
