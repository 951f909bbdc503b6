"""Pieces of a graph as models of their own, and graphs with more outputs or with errors added inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from se_deploy.graph.protos import copied
from se_deploy.graph.segments import Piece
from se_deploy.graph.view import View


def cut(view: View, part: Piece, outputs: Iterable[str]) -> ModelProto:
    """A piece as a model: its inputs become the model's, the weights that it reads come along."""
    read = {name for node in part.nodes for name in (*node.inputs, *node.captured)}
    model = ModelProto(ir_version=view.model.ir_version, opset_import=view.model.opset_import)
    kinds = {node.proto.op_type for node in part.nodes}
    model.functions.extend(f for f in view.model.functions if f.name in kinds)
    graph = model.graph
    graph.name = "piece"
    graph.node.extend(node.proto for node in part.nodes)
    graph.input.extend(_declared(view, name) for name in part.inputs)
    graph.initializer.extend(view.initializers[name] for name in sorted(read) if name in view.initializers)
    graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return model


def _declared(view: View, name: str) -> ValueInfoProto:
    shape = view.shape(name)
    return helper.make_tensor_value_info(name, view.elem_type(name) or TensorProto.FLOAT, None if shape is None else list(shape))


def tapped(view: View, names: Sequence[str]) -> ModelProto:
    """The model with more outputs, their types declared, as TensorRT wants it; those that it has already stay first."""
    new = copied(view.model)
    more = (name for name in names if name not in view.outputs)
    new.graph.output.extend(helper.make_tensor_value_info(name, view.elem_type(name), None) for name in more)
    return new


def error_input(name: str) -> str:
    """What the input is called through which `disturbed` takes an error of a tensor."""
    return f"{name}/error"


def disturbed(view: View, names: Sequence[str]) -> ModelProto:
    """The model with an input for each tensor of `names` that is added to it: an error put in there, and seen at the outputs."""
    model = copied(view.model)
    wanted = set(names)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        model.graph.node.append(node)
        for place, name in enumerate(node.output):
            if name in wanted:
                model.graph.node[-1].output[place] = f"{name}/undisturbed"
                model.graph.input.append(helper.make_tensor_value_info(error_input(name), view.elem_type(name), None))
                added = helper.make_node("Add", [f"{name}/undisturbed", error_input(name)], [name], f"{name}/disturbed")
                model.graph.node.append(added)
    return model
