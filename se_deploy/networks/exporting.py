"""nn.Module -> ONNX by either of PyTorch's exporters, quietly, with names and an opset that can be relied on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import onnx
import torch
from onnx import ModelProto, TypeProto
from torch import Tensor, nn

from se_deploy.errors import ExportError
from se_deploy.networks.quiet import quiet, quiet_native

Exporter = Literal["dynamo", "torchscript"]

#: The newest opset that both exporters write and every runtime of ours reads.
DEFAULT_OPSET = 20

#: Dynamo writes its operators for opset 18; below it, it converts, and keeps 18 where the conversion fails (any ReduceMean).
OPSETS: dict[Exporter, range] = {"dynamo": range(18, 24), "torchscript": range(13, 21)}

#: A reason is one line of an error or a note: a torch.export report has hundreds.
REASON_LENGTH = 200

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def candidates(
    exporter: Literal["auto"] | Exporter, opset: int, module: nn.Module, dynamic_sides: bool = False
) -> tuple[tuple[Exporter, ...], str | None]:
    """The exporters to try, in order, and why dynamo is not the first where it was left to us.

    Raises:
        ExportError: none of those allowed writes that opset.
    """
    allowed: tuple[Exporter, ...] = ("dynamo", "torchscript") if exporter == "auto" else (exporter,)
    fitting = tuple(name for name in allowed if opset in OPSETS[name])
    if not fitting:
        known = ", ".join(f"{name} {OPSETS[name][0]} to {OPSETS[name][-1]}" for name in allowed)
        raise ExportError(f"no exporter writes opset {opset}", f"choose --opset within {known}")
    if exporter != "auto" or "torchscript" not in fitting:
        return fitting, None
    if isinstance(module, torch.jit.ScriptModule):
        return ("torchscript",), "dynamo does not read TorchScript"
    if "dynamo" not in fitting:
        return fitting, f"dynamo does not write opset {opset}"
    if dynamic_sides and any("Same" in type(part).__name__ for part in module.modules()):
        return ("torchscript", "dynamo"), "dynamo takes minutes over SAME padding of dynamic sizes"
    return fitting, None


def to_onnx(
    module: nn.Module,
    example: Tensor,
    exporter: Exporter,
    *,
    opset: int = DEFAULT_OPSET,
    input_name: str = "input",
    output_names: Sequence[str] = ("output",),
    dynamic: Mapping[int, str] | None = None,
) -> ModelProto:
    """Exports a network in eval mode; the module is as before afterwards.

    Args:
        module: takes `example` alone; gives as many tensors as there are `output_names`.
        example: (N, C, H, W), of two images or more where axis 0 is to be dynamic: tracers take a 1 for a constant.
        exporter: which of PyTorch's two.
        opset: what the file must have.
        input_name: the graph's input.
        output_names: the graph's outputs.
        dynamic: axis of the input -> its name in the graph; an output's first axis is the batch.

    Raises:
        ExportError: the exporter fails, or writes another opset or a fixed size for a dynamic axis; the message is the reason alone.
    """
    axes = dict(dynamic or {})
    write = _dynamo if exporter == "dynamo" else _torchscript
    modes = {part: part.training for part in module.modules() if part.training}
    try:
        with torch.no_grad(), quiet():
            for part in modes:
                part.training = False
            model = write(module, example, opset, input_name, list(output_names), axes)
    except Exception as error:  # exporters raise whatever they meet
        raise ExportError(reason(error), "") from error
    finally:
        for part in modes:
            part.training = True
    _check_names(model, [input_name], list(output_names))
    _check_opset(model, opset)
    _check_dynamic(model, axes)
    return model


def _dynamo(module: nn.Module, example: Tensor, opset: int, name: str, outputs: list[str], axes: dict[int, str]) -> ModelProto:
    shapes = {axis: torch.export.Dim(label, min=1) for axis, label in axes.items()}
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=[name],
        output_names=outputs,
        dynamic_shapes=(shapes,) if shapes else None,
    )
    assert program is not None  # dynamo=True gives a program
    return program.model_proto


def _torchscript(module: nn.Module, example: Tensor, opset: int, name: str, outputs: list[str], axes: dict[int, str]) -> ModelProto:
    labels = {name: axes, **{output: {0: axes[0]} for output in outputs if 0 in axes}}
    with tempfile.TemporaryDirectory() as folder, quiet_native():
        # A path, and as a str: of anything else the exporter takes no place for weights above 2 GB, which it writes beside the file.
        file = str(Path(folder, "traced.onnx"))
        torch.onnx.export(
            module,
            (example,),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=[name],
            output_names=outputs,
            dynamic_axes=labels if axes else None,
        )
        return onnx.load(file)


def _check_names(model: ModelProto, inputs: list[str], outputs: list[str]) -> None:
    """An input that nothing reads, or an output that is another's twin, may be gone."""
    got = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    if got != (inputs, outputs):
        raise ExportError(f"it wrote the inputs {got[0]} and outputs {got[1]} where {inputs} and {outputs} were asked for", "")


def _check_opset(model: ModelProto, opset: int) -> None:
    got = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if got != opset:
        raise ExportError(f"it wrote opset {got} where {opset} was asked for", "")


def _check_dynamic(model: ModelProto, axes: Mapping[int, str]) -> None:
    """Dynamo may take an axis for a constant and say nothing."""
    (port,) = model.graph.input
    sizes = sizes_of(port.type)
    for axis, label in axes.items():
        if sizes[axis] != label:
            raise ExportError(f"the network fixes its {label} to {sizes[axis]}", "")


def sizes_of(kind: TypeProto) -> tuple[int | str, ...]:
    """A tensor type's sizes and, where a dimension is dynamic, its name ("?" where it has none)."""
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.tensor_type.shape.dim)


def reason(error: BaseException) -> str:
    """What went wrong first, in one line: exporters wrap it in advice, colours and listings."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    text = " ".join(lines[0].split()) if lines else type(error).__name__
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
