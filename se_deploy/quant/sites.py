"""Which tensors of a graph get a Q/DQ pair, and which of their uses read it.

Lean placement: the inputs of Conv, Gemm and MatMul with constant weights, and both inputs of a residual Add. SqueezeExcite nodes stay
in float, and nothing stands between a convolution and its activation, where TensorRT would lose a fusion.

    x ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Conv ─ SqueezeExcite(…, residual) ─ Q ─ DQ ─ Conv

With `outputs`, what a convolution gives (after the Relu or Clip behind it) gets a pair as well, read by every use: ONNX Runtime runs
a convolution in integers only where a Q stands on both of its sides.

    x ─ Q ─ DQ ─ Conv ─ Relu ─ Q ─ DQ ─ Conv ─ Q ─ DQ ─ SqueezeExcite(…, residual) ─ Q ─ DQ ─ Conv

With `blocks`, what a SqueezeExcite node reads and gives gets a pair, the residual's with it, so that the node can take int8 itself
(`blocks.py`). One that gives a network's output stays in float.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto, TensorProto, helper

from se_deploy import op

#: A place where a tensor is read: the node's index in the graph, and the index among the node's inputs.
Use = tuple[int, int]

#: Activations that ONNX Runtime folds into the integer convolution before them.
FOLDED = ("Relu", "Clip")


@dataclass(frozen=True)
class Weighted:
    """A layer with constant weights that is computed in integers: `axis` is the weight's output channel."""

    index: int
    source: str
    weight: str
    axis: int
    bias: str | None


@dataclass
class Sites:
    """Tensors to quantize with the uses that read the quantized one, in graph order, and the layers with weights to quantize."""

    tensors: dict[str, list[Use]] = field(default_factory=dict)
    layers: list[Weighted] = field(default_factory=list)


def constants(model: ModelProto) -> dict[str, TensorProto]:
    """Every constant tensor of the graph by name: initializers, and what Constant nodes hold."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def name_nodes(model: ModelProto) -> None:
    """Calls every node without a name by its first output, so that it can be told from others when types change around it."""
    for node in model.graph.node:
        node.name = node.name or node.output[0]


def find(model: ModelProto, *, outputs: bool = False, blocks: bool = False, halves: bool = False, floats: Collection[str] = ()) -> Sites:
    """The sites of a fused FP32 graph; nothing is changed.

    Args:
        model: the graph.
        outputs: as above.
        blocks: as above.
        halves: layers with FP16 weights are taken too.
        floats: names of nodes (layers, residual Adds, SqueezeExcite nodes) that ask for no pair; they read one only where another's
            output has it.
    """
    nodes = model.graph.node
    known = constants(model)
    uses: dict[str, list[Use]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for position, name in enumerate(node.input):
            uses[name].append((index, position))
    sites = Sites()
    wanted: dict[str, set[Use]] = defaultdict(set)
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16) if halves else (TensorProto.FLOAT,)
    for index, node in enumerate(nodes):
        if node.name in floats:
            continue
        layer = _weighted(index, node, known, kinds)
        if layer is not None:
            sites.layers.append(layer)
            wanted[node.input[0]].add((index, 0))
        elif is_residual(node, known):
            for position, name in enumerate(node.input):
                wanted[name].add((index, position))
    if blocks:
        for name, read in _blocks(model, uses, floats):
            wanted[name].update(read)
    if outputs:
        for name in _outputs(model, sites.layers, uses):
            wanted[name].update(uses[name])
    order = [i.name for i in model.graph.input] + [name for node in nodes for name in node.output]
    sites.tensors = {name: sorted(wanted[name]) for name in order if name in wanted}
    return sites


def _weighted(index: int, node: NodeProto, known: dict[str, TensorProto], floats: tuple[int, ...]) -> Weighted | None:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.domain not in ("", "ai.onnx"):
        return None
    weight = known.get(node.input[1])
    if weight is None or weight.data_type not in floats or node.input[0] in known:
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] in known else None
    if node.op_type == "Conv":
        return Weighted(index, node.input[0], node.input[1], 0, bias)
    if len(weight.dims) != 2:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return None
    return Weighted(index, node.input[0], node.input[1], 0 if attributes.get("transB", 0) else 1, bias)


def is_residual(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    """An Add of two tensors neither of which is among the constants `known`."""
    return node.op_type == "Add" and node.domain in ("", "ai.onnx") and not any(name in known for name in node.input)


def _blocks(model: ModelProto, uses: dict[str, list[Use]], floats: Collection[str]) -> Iterator[tuple[str, list[Use]]]:
    """Tensors that SqueezeExcite nodes read, with that use, and those they give, with every use."""
    results = {output.name for output in model.graph.output}
    for index, node in enumerate(model.graph.node):
        variant = op.variant_of(node)
        if variant is None or variant.int8 or node.output[0] in results or node.name in floats:
            continue
        for position, name in enumerate(variant.inputs):
            if name in ("x", "residual"):
                yield node.input[position], [(index, position)]
        yield node.output[0], uses[node.output[0]]


def _outputs(model: ModelProto, layers: list[Weighted], uses: dict[str, list[Use]]) -> Iterator[str]:
    """What each convolution gives, behind its Relu or Clip; not a network's output, which stays in float."""
    nodes = model.graph.node
    results = {output.name for output in model.graph.output}
    for layer in layers:
        node = nodes[layer.index]
        if node.op_type != "Conv":
            continue
        name = node.output[0]
        readers = uses[name]
        if len(readers) == 1 and nodes[readers[0][0]].op_type in FOLDED and name not in results:
            name = nodes[readers[0][0]].output[0]
        if name not in results:
            yield name
