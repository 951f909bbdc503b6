"""A graph's inputs and outputs: what they declare, and declaring them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, ValueInfoProto, helper

from se_deploy.artifacts import InputSpec, OutputSpec
from se_deploy.errors import GraphError
from se_deploy.graph.shapes import network_inputs

Shape = tuple[int | str, ...]

#: Batches that an engine is tuned for where nothing else is said.
BATCHES = (1, 8, 32)


def image_input(model: ModelProto) -> ValueInfoProto:
    """The one input, a batch of images.

    Raises:
        GraphError: there are several inputs or none, or it is not (N, C, H, W) with a known C.
    """
    inputs = network_inputs(model.graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise GraphError(f"the graph has {len(inputs)} inputs ({names})", "cut it down to one that takes images")
    shape = declared(inputs[0])
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise GraphError(f"input {inputs[0].name} is {list(shape)}, not images (N, C, H, W) with a known C", "cut the graph at the images")
    return inputs[0]


def declared(value: ValueInfoProto) -> Shape:
    """Sizes and, where a dimension is dynamic, its name ("?" where it has none, or the -1 that Paddle writes); () for an unknown rank."""
    return tuple(d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in value.type.tensor_type.shape.dim)


def dtype(value: ValueInfoProto) -> str:
    """NumPy's name of the element type."""
    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def declare(value: ValueInfoProto, shape: Shape) -> None:
    """Declares a shape, in place."""
    kind = value.type.tensor_type.elem_type
    value.type.CopyFrom(helper.make_tensor_type_proto(kind, [None if size == "?" else size for size in shape]))


def settle(model: ModelProto, shape: Shape, seen: Mapping[str, Sequence[tuple[int, ...]]] | None = None) -> None:
    """Declares the image input, and the outputs as they were seen to be (open where nothing was seen yet), in place.

    An output's axis that never varied gets its size: exporters lose it behind a Reshape. Where the input's shape is new, those of
    inner tensors go.

    Args:
        model: any model with one image input.
        shape: the input's (N, C, H, W).
        seen: the shapes that each output had over all batches and sizes that were run.
    """
    value = image_input(model)
    if declared(value) != shape:
        declare(value, shape)
        del model.graph.value_info[:]
    for output in model.graph.output:
        if seen is None:
            output.type.tensor_type.ClearField("shape")
            continue
        names = dict(enumerate(declared(output)))
        axes = zip(*seen[output.name], strict=True)
        declare(output, tuple(_size(sizes, shape[0] if axis == 0 else names.get(axis, "?")) for axis, sizes in enumerate(axes)))


def _size(sizes: Sequence[int], name: int | str) -> int | str:
    return name if len(set(sizes)) > 1 and isinstance(name, str) else sizes[0]


def input_spec(model: ModelProto, low: tuple[int, int], best: tuple[int, int], high: tuple[int, int]) -> InputSpec:
    """The image input as manifests have it; `low`, `best` and `high` are (H, W), the same where they are fixed."""
    value = image_input(model)
    shape = declared(value)
    batches = (shape[0],) * 3 if isinstance(shape[0], int) else BATCHES
    least, usual, most = ((n, int(shape[1]), *sides) for n, sides in zip(batches, (low, best, high), strict=True))
    return InputSpec(name=value.name, dtype=dtype(value), shape=shape, min=least, opt=usual, max=most)


def output_specs(model: ModelProto) -> tuple[OutputSpec, ...]:
    """The outputs as manifests have them."""
    return tuple(OutputSpec(name=o.name, dtype=dtype(o), shape=declared(o)) for o in model.graph.output)
