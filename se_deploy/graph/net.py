"""A model that is being rewritten: who makes and who reads a tensor now, and weights that can be changed for one reader alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper

from se_deploy import op
from se_deploy.graph.protos import copied

Float = NDArray[np.float32]


class Net:
    """A copy of a model; the model that came in stays as it is."""

    def __init__(self, model: ModelProto) -> None:
        self.model = copied(model, without=("node", "initializer"))
        self.nodes = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
        self._protos = {tensor.name: tensor for tensor in model.graph.initializer}
        self._values: dict[str, NDArray[np.generic]] = {}
        self._outputs = {value.name for value in model.graph.output}

    def producer(self, name: str) -> NodeProto | None:
        """The node that makes a tensor."""
        return next((node for node in self.nodes if name in node.output), None)

    def readers(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor, a node once for each time."""
        return [node for node in self.nodes for read in node.input if read == name]

    def is_shared(self, name: str) -> bool:
        """Whether anything but one node's one input reads a tensor."""
        return name in self._outputs or len(self.readers(name)) != 1 or any(name in _inner(node) for node in self.nodes)

    def is_output(self, name: str) -> bool:
        """Whether the graph gives the tensor, or a subgraph reads it."""
        return name in self._outputs or any(name in _inner(node) for node in self.nodes)

    def value(self, name: str) -> Float | None:
        """A constant FP32 tensor; None for anything else."""
        if name in self._values:
            return np.asarray(self._values[name], np.float32)
        proto = self._protos.get(name)
        if proto is not None:
            array = numpy_helper.to_array(proto)
        else:
            maker = self.producer(name)
            if maker is None or maker.op_type != "Constant" or maker.attribute[0].name != "value":
                return None
            array = numpy_helper.to_array(maker.attribute[0].t)
        return array if array.dtype == np.float32 else None

    def change(self, node: NodeProto, index: int, value: NDArray[np.generic]) -> None:
        """Gives a node's input another constant value, under a name of its own where others read the old one."""
        name = node.input[index]
        if name not in self._protos and name not in self._values or self.is_shared(name):
            name = node.input[index] = self.fresh(f"{name}.folded")
        self._values[name] = np.ascontiguousarray(value, np.float32)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A new constant."""
        name = self.fresh(name)
        self._values[name] = np.ascontiguousarray(value, np.float32)
        return name

    def fresh(self, name: str) -> str:
        """The name itself, or with a number behind it where it is taken."""
        taken = self._protos.keys() | self._values.keys() | {output for node in self.nodes for output in node.output}
        return next(n for n in (f"{name}{f'_{i}' if i else ''}" for i in count()) if n not in taken)

    def replace(self, node: NodeProto, new: list[NodeProto]) -> None:
        """Puts nodes in the place of one."""
        at = self.nodes.index(node)
        self.nodes[at : at + 1] = new

    def rename(self, old: str, new: str) -> None:
        """Everything that reads a tensor reads another."""
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def finished(self) -> ModelProto:
        """The model, without weights that nothing reads any more."""
        read = {name for node in self.nodes for name in (*node.input, *_inner(node))} | self._outputs
        self.model.graph.node.extend(self.nodes)
        kept = (proto for name, proto in self._protos.items() if name in read and name not in self._values)
        self.model.graph.initializer.extend(kept)
        new = (numpy_helper.from_array(value, name) for name, value in self._values.items() if name in read)
        self.model.graph.initializer.extend(new)
        gone = [i for i in self.model.graph.input if i.name in self._protos and i.name not in read]
        for value in gone:
            self.model.graph.input.remove(value)
        del self.model.graph.value_info[:]
        op.declare(self.model)
        return self.model


def attributes(node: NodeProto) -> dict[str, object]:
    """A node's attributes by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def is_op(node: NodeProto | None, *kinds: str) -> bool:
    """Whether a node is one of ONNX's own operators of these names."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in kinds


def _inner(node: NodeProto) -> Iterator[str]:
    """What a node's subgraphs read."""
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
        for graph in graphs:
            for inner in graph.node:
                yield from inner.input
                yield from _inner(inner)
