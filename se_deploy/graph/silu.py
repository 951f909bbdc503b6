"""SiLU as one node for ONNX Runtime's integer graphs.

    before   x_q ── DQ ─┬─ Sigmoid ─ Mul ── Q        after   x_q ── DQ ── QuickGelu ── Q
                        └────────────┘

ONNX Runtime has a kernel for it and fuses the pair itself, but not behind a DequantizeLinear: that it doubles, one for each reader, and
then nothing is left to fuse. The node is a function of the file under the name of ONNX Runtime's own operator, which goes before functions
of that name; any other runtime with functions takes the body.
"""

from __future__ import annotations

from collections import defaultdict

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, helper

from se_deploy import op

DOMAIN, NAME = "com.microsoft", "QuickGelu"


def joined(model: ModelProto) -> None:
    """Makes one node of every x · Sigmoid(x) of the main graph whose Sigmoid nothing else reads; the graph is changed in place."""
    graph = model.graph
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    results = {output.name for output in graph.output}
    gone = []
    for node in graph.node:
        after = readers[node.output[0]] if node.op_type == "Sigmoid" and node.output[0] not in results else []
        if len(after) == 1 and after[0].op_type == "Mul" and sorted(after[0].input) == sorted([node.input[0], node.output[0]]):
            given, made, name = node.input[0], after[0].output[0], after[0].name
            after[0].CopyFrom(helper.make_node(NAME, [given], [made], name, domain=DOMAIN, alpha=1.0))
            gone.append(node)
    for node in gone:
        graph.node.remove(node)
    if gone:
        _declare(model)


def _declare(model: ModelProto) -> None:
    if not any(opset.domain == DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    if not any((f.domain, f.name) == (DOMAIN, NAME) for f in model.functions):
        model.functions.append(_function(op.opset_of(model)))
    model.ir_version = max(model.ir_version, 8)


def _function(opset: int) -> FunctionProto:
    """Y = X · Sigmoid(alpha · X)."""
    alpha = helper.make_node("Constant", [], ["alpha"])
    alpha.attribute.append(AttributeProto(name="value_float", type=AttributeProto.FLOAT, ref_attr_name="alpha"))
    scaled = helper.make_node("Mul", ["X", "alpha"], ["scaled"])
    body = [alpha, scaled, helper.make_node("Sigmoid", ["scaled"], ["gate"]), helper.make_node("Mul", ["X", "gate"], ["Y"])]
    return helper.make_function(DOMAIN, NAME, ["X"], ["Y"], body, [helper.make_opsetid("", opset)], ["alpha"])
