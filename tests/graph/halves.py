"""A network that FP16 breaks where FP32 holds, and FP16 arithmetic to see it in: ONNX's reference, which computes in NumPy."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from se_deploy import op
from se_deploy.graph import spans, wide
from se_deploy.graph.half import raised
from se_deploy.graph.inline import inlined
from se_deploy.graph.precision import candidates
from tests.quant import small
from tests.quant.running import session

CHANNELS, CLASSES = 8, 5
STEPS = ("up0", "up1", "down0", "down1")


def numpy_half(model: ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of a model as NumPy computes it, FP16 nodes in half arithmetic; SqueezeExcite nodes are written out."""
    flat = inlined(model)
    have = {value.name for value in flat.graph.output}
    made = [name for node in flat.graph.node for name in node.output if name and name not in have]
    flat.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in made)
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(flat).run(None, {flat.graph.input[0].name: x})
    return dict(zip([value.name for value in flat.graph.output], values, strict=True))


def seen(model: ModelProto, x: np.ndarray) -> dict[str, spans.Span]:
    """The spans of a model's tensors, one image at a time."""
    view = raised(model)
    names = spans.tensors(view, candidates(view))
    watching = session(spans.watching(view, names), True)
    outputs = [output.name for output in watching.get_outputs()]
    found: dict[str, spans.Span] = {}
    for image in x:
        values = watching.run(None, {watching.get_inputs()[0].name: image[None]})
        for name, span in spans.read(names, dict(zip(outputs, values, strict=True))).items():
            found[name] = found[name].merged(span) if name in found else span
    return found


def kept(model: ModelProto, x: np.ndarray) -> dict[str, str]:
    """The nodes that stay in FP32 by what these images show, and why."""
    return {one.name: one.reason for one in wide.find(raised(model), seen(model, x))}


def scaled(factor: float) -> ModelProto:
    """up0 and up1 together multiply by `factor`, down0 and down1 divide by it; what comes out is the same for every factor.

    x ─ conv0 ─ Relu ─ up0 ─ Relu ─ up1 ─ Relu ─ down0 ─ Relu ─ down1 ─ SqueezeExcite ─ GlobalAveragePool ─ Flatten ─ fc ─ y
    """
    rng = np.random.default_rng(3)
    c, root = CHANNELS, factor**0.5
    weights = {"conv0.w": rng.standard_normal((c, 3, 3, 3)) / 4, "conv0.b": rng.standard_normal(c) / 4}
    for name, gain in zip(STEPS, (root, root, 1 / root, 1 / root), strict=True):
        weights[f"{name}.w"] = np.abs(rng.standard_normal((c, c, 1, 1))) / 4 * gain
    weights |= {"fc.w": rng.standard_normal((CLASSES, c)), "fc.b": rng.standard_normal(CLASSES) / 10}
    weights |= {"w1": rng.standard_normal((4, c)), "b1": rng.standard_normal(4), "w2": rng.standard_normal((c, 4)), "b2": np.zeros(c)}
    nodes = [helper.make_node("Conv", ["x", "conv0.w", "conv0.b"], ["conv0"], "conv0", pads=[1, 1, 1, 1], strides=[2, 2])]
    for before, name in zip(("conv0", *STEPS), STEPS, strict=False):
        nodes.append(helper.make_node("Relu", [before], [f"{name}.in"], f"{name}.relu"))
        nodes.append(helper.make_node("Conv", [f"{name}.in", f"{name}.w"], [name], name))
    nodes += [
        op.make_node(op.Variant(), [STEPS[-1], "w1", "b1", "w2", "b2"], "se", "se"),
        helper.make_node("GlobalAveragePool", ["se"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["y"], "fc", transB=1),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, small.SIZE, small.SIZE])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "scaled", [given], [answer], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    op.declare(model)
    return model
