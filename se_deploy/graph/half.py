"""FP16 from FP32: means, gates and the network's inputs and outputs stay in FP32, everything else that may becomes FP16."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.graph import batchnorm, opset
from se_deploy.graph.net import is_op
from se_deploy.graph.precision import Slots, choose
from se_deploy.graph.protos import copied
from se_deploy.graph.view import Node, View

#: Below it there is no CastLike, and a SqueezeExcite function's y would be FP32 whatever x is.
_MIN_OPSET = 15

_NOTHING = Slots(frozenset(), frozenset())


def to_half(model: ModelProto, notes: list[str] | None = None, wide: Collection[str] = ()) -> ModelProto:
    """An FP16 model of an FP32 one, fused or plain; the model given is not changed.

    Network inputs and outputs stay FP32, with a Cast behind and before them: an input value beyond 65504 becomes infinite there (images
    as numbers of 0-255 or 0-1 are far from it). A SqueezeExcite node takes FP16 maps and FP32 weights and computes in FP32. Of blocks
    that are not fused, the mean (any Reduce, global or wide average), what follows it and the gate stay in FP32. So does a node whose
    weights FP16 cannot hold. Which inputs of an operator may be FP16 is read from ONNX's own definition of it; operators of other
    domains and nodes with subgraphs stay in FP32. A model with SqueezeExcite nodes below opset 15 is raised to it.

    Args:
        model: FP32, one that onnx.checker passes.
        notes: takes a line for every node that stays in FP32 because of its weights' values.
        wide: names of nodes (of what they give, where they have none) that stay in FP32 too: `wide.find` chooses them by images.

    Returns:
        A model in topological order, without nodes that no output needs.

    Raises:
        GraphError: the model has to be raised to opset 15 and cannot be.
    """
    view = raised(model)
    return _Writer(view, choose(view, [] if notes is None else notes, wide)).write()


def raised(model: ModelProto) -> View:
    """The graph that `to_half` starts from: the model's own, at opset 15 or later where it has SqueezeExcite nodes.

    BatchNorms that convolutions can take are folded: the variances of channels that hardly vary are beyond FP16, what they make of a
    convolution's weights is not.

    Raises:
        GraphError: it has to be raised and cannot be.
    """
    if any(is_op(node, "BatchNormalization") for node in model.graph.node):
        model = batchnorm.folded(model)
    view = View(model)
    if view.opset < _MIN_OPSET and any(op.variant_of(node) for node in model.graph.node):
        return View(opset.raised(model, _MIN_OPSET))
    return view


class _Writer:
    """Writes the graph anew, node by node; an FP32 tensor of old is made in one precision, and a Cast gives it in the other."""

    def __init__(self, view: View, chosen: dict[Node, Slots]) -> None:
        self._view = view
        self._chosen = chosen
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []
        self._taken = {*view.producer, *view.initializers, *(i.name for i in view.inputs), *(node.name for node in view.nodes)}
        #: Outputs and what subgraphs read: there must be an FP32 tensor of that name.
        self._pinned = {*view.outputs, *(name for node in view.nodes for name in node.captured)}
        #: What is read as it was; a constant that is not becomes an FP16 weight, and the nodes that made it are left out.
        self._as_it_was = set(self._pinned)
        self._left_out: set[Node] = set()
        self._find_constants()
        #: By tensor and precision (FP16 or not): its name there, as far as it is written yet.
        self._names: dict[tuple[str, bool], str] = {(name, False): name for name in (*view.initializers, *(i.name for i in view.inputs))}

    def _find_constants(self) -> None:
        for node in reversed(self._view.nodes):
            if all(self._view.constant(name) is not None and name not in self._as_it_was for name in node.outputs):
                self._left_out.add(node)
                continue
            for index, name in enumerate(node.inputs):
                if not self._halved(node, index) or self._view.constant(name) is None:
                    self._as_it_was.add(name)

    def _halved(self, node: Node, index: int) -> bool:
        """Whether a node is to read an input in FP16 that was FP32."""
        return index in self._chosen.get(node, _NOTHING).inputs and self._was_fp32(node.inputs[index])

    def _was_fp32(self, name: str) -> bool:
        return self._view.elem_type(name) == TensorProto.FLOAT

    def write(self) -> ModelProto:
        """The whole model."""
        for node in self._view.nodes:
            if node not in self._left_out:
                self._add(node)
        half = copied(self._view.model, without=("node", "input", "initializer", "value_info"))
        half.graph.node.extend(self._nodes)
        half.graph.input.extend(self._view.inputs)
        half.graph.initializer.extend(w for name, w in self._view.initializers.items() if name in self._as_it_was)
        half.graph.initializer.extend(self._weights)
        return half

    def _add(self, node: Node) -> None:
        """Writes a node, the Casts that it needs before it, and those that make its pinned outputs FP32."""
        module = node.name.rpartition("/")[0] or node.name
        inputs = [self._read(name, self._halved(node, index), module) for index, name in enumerate(node.inputs)]
        halved = self._chosen.get(node, _NOTHING).outputs
        outputs = [self._made(name, half=index in halved and self._was_fp32(name)) for index, name in enumerate(node.outputs)]
        new = NodeProto()
        new.CopyFrom(node.proto)
        new.input[:], new.output[:] = inputs, outputs
        self._nodes.append(new)
        for name, made in zip(node.outputs, outputs, strict=True):
            if name != made:
                self._cast(made, name, TensorProto.FLOAT, module)
                self._names[name, False] = name

    def _made(self, name: str, half: bool) -> str:
        """The name of a node's output in its new precision."""
        made = self._new(f"{name}_fp16") if half and name in self._pinned else name
        self._names[name, half] = made
        return made

    def _read(self, name: str, half: bool, module: str) -> str:
        """The name of a tensor in a precision, which is made if it is not there yet."""
        if not self._was_fp32(name):
            return name
        if half and (value := self._view.constant(name)) is not None:
            return self._weight(name, value)
        if (name, half) not in self._names:
            made = self._new(f"{name}_{'fp16' if half else 'fp32'}")
            self._cast(self._names[name, not half], made, TensorProto.FLOAT16 if half else TensorProto.FLOAT, module)
            self._names[name, half] = made
        return self._names[name, half]

    def _weight(self, name: str, value: NDArray[Any]) -> str:
        """The name of a constant's FP16 form."""
        if (name, True) not in self._names:
            self._names[name, True] = self._new(f"{name}_fp16") if name in self._as_it_was else name
            self._weights.append(numpy_helper.from_array(np.asarray(value, np.float16), self._names[name, True]))
        return self._names[name, True]

    def _cast(self, source: str, target: str, to: int, module: str) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], self._new(f"{module}/Cast" if module else "Cast"), to=to))

    def _new(self, wanted: str) -> str:
        """A name that no tensor and no node has."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name
