"""Constants folded: what exporters put between a weight and its reader, evaluated in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Attributes = Mapping[str, Any]


def array(tensor: TensorProto) -> Array | None:
    """An ONNX tensor's value, bfloat16 and the 8-bit floats included; None where its data lies in a file that was not loaded."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor)


def raw(tensor: TensorProto) -> bytes:
    """An ONNX tensor's data as a file holds it: little-endian, without gaps."""
    return tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data


def fold(op: str, values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    """The value of a node of constants; None where the node is not one that folds."""
    function = FOLDABLE.get(op)
    return None if function is None else function(values, attributes)


def _constant(_values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    if "value" in attributes:
        return array(attributes["value"])
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64), ("value_ints", np.int64)):
        if key in attributes:
            return np.asarray(attributes[key], dtype)
    return None


def _reshape(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    data, target = values[0], values[1] if len(values) > 1 else np.asarray(attributes.get("shape", ()))
    if data is None or target is None:
        return None
    copy = not attributes.get("allowzero", 0)
    return data.reshape([data.shape[i] if t == 0 and copy else int(t) for i, t in enumerate(target.tolist())])


def _axes(values: Sequence[Array | None], attributes: Attributes) -> tuple[int, ...] | None:
    if "axes" in attributes:
        return tuple(attributes["axes"])
    given = values[1] if len(values) > 1 else None
    return None if given is None else tuple(int(a) for a in given.reshape(-1))


def _unsqueeze(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    axes = _axes(values, attributes)
    return None if values[0] is None or axes is None else np.expand_dims(values[0], axes)


def _squeeze(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    return None if values[0] is None else np.squeeze(values[0], _axes(values, attributes))


def _flatten(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    if values[0] is None:
        return None
    axis = attributes.get("axis", 1)
    return values[0].reshape(int(np.prod(values[0].shape[:axis])), -1)


def _cast(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    return None if values[0] is None else values[0].astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _transpose(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    return None if values[0] is None else values[0].transpose(attributes.get("perm"))


def _concat(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    known = [v for v in values if v is not None]
    return np.concatenate(known, attributes["axis"]) if len(known) == len(values) else None


def _gather(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    data, where = values
    return None if data is None or where is None else np.asarray(np.take(data, where, attributes.get("axis", 0)))


def _of_shape(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    fill = array(attributes["value"]) if "value" in attributes else np.zeros(1, np.float32)
    return None if values[0] is None or fill is None else np.full(values[0].tolist(), fill[0], fill.dtype)


def _dequantize(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    data, scale = values[:2]
    zero = values[2] if len(values) > 2 else None
    if data is None or scale is None or attributes.get("block_size", 0):
        return None
    shape = [1] * data.ndim
    if scale.size > 1:
        shape[attributes.get("axis", 1)] = scale.size
    centred = data.astype(np.float32) - (0 if zero is None else zero.astype(np.float32).reshape(shape if zero.size > 1 else ()))
    return np.asarray(centred * scale.astype(np.float32).reshape(shape if scale.size > 1 else ()))


def _quantize(values: Sequence[Array | None], attributes: Attributes) -> Array | None:
    """A weight's QuantizeLinear: half to even, saturated."""
    data, scale = values[:2]
    zero = values[2] if len(values) > 2 else np.zeros((), np.uint8)
    if data is None or scale is None or zero is None or attributes.get("block_size", 0) or zero.dtype not in (np.int8, np.uint8):
        return None
    shape = [1] * data.ndim
    if scale.size > 1:
        shape[attributes.get("axis", 1)] = scale.size
    steps = np.rint(data.astype(np.float32) / scale.astype(np.float32).reshape(shape if scale.size > 1 else ()))
    moved = steps + zero.astype(np.float32).reshape(shape if zero.size > 1 else ())
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(moved, limits.min, limits.max), zero.dtype)


def _plain(function: Callable[..., Any]) -> Callable[[Sequence[Array | None], Attributes], Array | None]:
    def folded(values: Sequence[Array | None], _attributes: Attributes) -> Array | None:
        return None if any(v is None for v in values) else np.asarray(function(*values))

    return folded


def _divide(a: Array, b: Array) -> Array:
    return np.asarray(a // b if np.issubdtype(a.dtype, np.integer) else a / b)


#: By operator: its value from its inputs' values (None for an input left out) and attributes.
FOLDABLE: dict[str, Callable[[Sequence[Array | None], Attributes], Array | None]] = {
    "Constant": _constant,
    "ConstantOfShape": _of_shape,
    "Identity": _plain(lambda v: v),
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Flatten": _flatten,
    "Concat": _concat,
    "Gather": _gather,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Div": _plain(_divide),
    "Neg": _plain(np.negative),
    "Sqrt": _plain(np.sqrt),
    "Reciprocal": _plain(np.reciprocal),
    "Exp": _plain(np.exp),
}
