"""Model-local functions written out: ours for runtimes that have none, others' so that what is inside them is seen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, ValueInfoProto, helper, inliner

from se_deploy import op
from se_deploy.graph.protos import copied


def inlined(model: ModelProto) -> ModelProto:
    """The model with its SqueezeExcite nodes written out in plain operators; no node, function or opset import of ours is left.

    A node `layer3.2.se` becomes `layer3.2.se/GlobalAveragePool`, `layer3.2.se/Gemm`, ... The model that came in is not changed.
    """
    new = copied(model, without=("node",))
    bodies = {f.name: f for f in model.functions if f.domain == op.DOMAIN}
    taken = {node.name for node in model.graph.node}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.extend([node] if op.variant_of(node) is None else _body(node, bodies[node.op_type], taken))
    new.graph.node.extend(nodes)
    op.declare(new)
    return new


def _body(node: NodeProto, function: FunctionProto, taken: set[str]) -> list[NodeProto]:
    """A node's function body with the node's tensors and attributes put in."""
    prefix = node.name or node.output[0]
    names = dict(zip(function.input, node.input, strict=True)) | dict(zip(function.output, node.output, strict=True))
    attributes = {a.name: a for a in node.attribute}
    body = []
    for inner in function.node:
        new = NodeProto()
        new.CopyFrom(inner)
        new.name = next(n for n in _numbered(f"{prefix}/{inner.op_type}") if n not in taken)
        taken.add(new.name)
        for tensors in (new.input, new.output):
            tensors[:] = [names.get(t, f"{prefix}/{t}") if t else "" for t in tensors]
        del new.attribute[:]
        new.attribute.extend(_given(a, attributes) for a in inner.attribute)
        body.append(new)
    return body


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{i}" for i in count(2))


def _given(attribute: AttributeProto, values: dict[str, AttributeProto]) -> AttributeProto:
    """An attribute of the body, its value taken from the node where it refers to one of the function's."""
    if not attribute.ref_attr_name:
        return attribute
    return helper.make_attribute(attribute.name, values[attribute.ref_attr_name].f)


def without_foreign_functions(model: ModelProto) -> ModelProto:
    """The model with all functions but ours written out; the model itself where it has none."""
    if all(f.domain == op.DOMAIN for f in model.functions):
        return model
    light = copied(model, without=("initializer",))
    given = {i.name for i in model.graph.input}
    # The weights stay behind, and as inputs keep their names to themselves.
    light.graph.input.extend(ValueInfoProto(name=w.name) for w in model.graph.initializer if w.name not in given)
    ours = [(f.domain, f.name) for f in model.functions if f.domain == op.DOMAIN]
    result = inliner.inline_selected_functions(light, ours, exclude=True)
    del result.graph.input[len(model.graph.input) :]
    result.graph.initializer.extend(model.graph.initializer)
    return result
