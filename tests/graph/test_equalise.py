"""Each rewrite is exact up to rounding, wherever the factors go; what cannot be rewritten is left alone."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph import equalise
from se_deploy.graph.batchnorm import folded
from tests.quant.running import session

C, R, OUT = 8, 4, 6
FACTORS = np.geomspace(0.01, 40, C).astype(np.float32)
ATTRIBUTES = {"alpha": 0.3, "beta": 0.6, "leak": 0.1}
#: What stands before the tensor, and whether the factors go into the convolution.
BEFORE = {"": True, "Relu": True, "Clip": True, "Clip6": False, "HardSwish": False, "LeakyRelu": False, "MaxPool": False}


class Graph:
    """conv0 ─ activation (m1) [─ SqueezeExcite (se)] ─ conv1 (depthwise or dense) ─ y; the weights are drawn."""

    def __init__(self, kind: str, act: str, variant: op.Variant | None = None) -> None:
        self.rng = np.random.default_rng(3)
        self.tensors: dict[str, np.ndarray] = {}
        self.nodes = [helper.make_node("Conv", ["x", self.put("c0.w", C, 3, 3, 3), self.put("c0.b", C)], ["m0"], "conv0")]
        self.activation(act)
        name = "m1"
        if variant is not None:
            own = {"w1": (R, C), "b1": (R,), "w2": (C, C if variant.act == "none" else R), "b2": (C,), "slope": (R,)}
            names = ["m1" if key == "x" else "r" if key == "residual" else self.put(f"se.{key}", *own[key]) for key in variant.inputs]
            self.nodes.append(op.make_node(variant, names, "se", "se", {k: ATTRIBUTES[k] for k in variant.attributes}))
            name = "se"
        shape, group = ((C, 1, 3, 3), C) if kind == "depthwise" else ((OUT, C, 3, 3), 1)
        weights = [self.put("c1.w", *shape), self.put("c1.b", shape[0])]
        self.nodes.append(helper.make_node("Conv", [name, *weights], ["y"], "conv1", pads=[1, 1, 1, 1], group=group))
        self.tensor, self.variant = name, variant

    def put(self, name: str, *shape: int) -> str:
        self.tensors[name] = (self.rng.standard_normal(shape) / 2).astype(np.float32)
        return name

    def activation(self, act: str) -> None:
        more: dict[str, object] = {"MaxPool": {"kernel_shape": [3, 3]}}.get(act, {})
        inputs = ["m0"]
        if act in ("Clip", "Clip6"):
            self.tensors |= {"zero": np.zeros((), np.float32), "six": np.float32(6)}
            inputs += ["zero"] if act == "Clip" else ["zero", "six"]
        self.nodes.append(helper.make_node(act.removesuffix("6") or "Mul", inputs, ["m1"], "act", **more))
        if not act:
            self.nodes.pop()
            self.nodes[-1].output[0] = "m1"

    def model(self, *outputs: str) -> ModelProto:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 9])]
        if self.variant is not None and self.variant.skip == "add":
            inputs.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["N", C, 7, 7]))
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("y", *outputs)]
        weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "g", inputs, given, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        op.declare(model)
        onnx.checker.check_model(model, full_check=True)
        return model


def answers(model: ModelProto, *names: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((2, 3, 9, 9)).astype(np.float32), "r": rng.standard_normal((2, C, 7, 7)).astype(np.float32)}
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    run = session(watched, optimised=False)
    return run.run(None, {i.name: feeds[i.name] for i in run.get_inputs()})


def same(before: ModelProto, after: ModelProto) -> None:
    onnx.checker.check_model(after, full_check=True)
    (want,), (got,) = answers(before), answers(after)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("act", BEFORE)
@pytest.mark.parametrize("kind", ["depthwise", "dense"])
def test_the_answers_stay_and_the_channels_are_divided(kind: str, act: str) -> None:
    model = Graph(kind, act).model()
    content = model.SerializeToString()
    assert equalise.candidates(model) == [equalise.Candidate("m1", kind, BEFORE[act], None)]
    after = equalise.equalised(model, {"m1": FACTORS})
    same(model, after)
    want, got = answers(model, "m1")[1], answers(after, "m1/equalised")[1]
    np.testing.assert_allclose(got * FACTORS.reshape(-1, 1, 1), want, rtol=1e-4, atol=1e-4)
    assert sum(node.op_type == "Mul" for node in after.graph.node) == (0 if BEFORE[act] else 1)
    assert ("m1" in [name for node in after.graph.node for name in node.output]) == (not BEFORE[act])
    assert model.SerializeToString() == content


VARIANTS = [
    op.Variant(act, gate, skip, epilogue)
    for act, gate, skip, epilogue in itertools.product(op.ACTS, op.GATES, ("none", "self"), ("none", "relu"))
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name.removeprefix("SqueezeExcite_"))
@pytest.mark.parametrize("act", ["Relu", "HardSwish"])
def test_factors_go_through_an_se_block_of_every_kind(act: str, variant: op.Variant) -> None:
    model = Graph("dense", act, variant).model()
    assert equalise.candidates(model) == [equalise.Candidate("se", "dense", act == "Relu", "m1")]
    after = equalise.equalised(model, {"se": FACTORS})
    same(model, after)
    want, got = answers(model, "m1", "se")[1:], answers(after, "m1/equalised", "se/equalised")[1:]
    for was, now in zip(want, got, strict=True):
        np.testing.assert_allclose(now * FACTORS.reshape(-1, 1, 1), was, rtol=1e-4, atol=1e-4)
    assert sum(node.op_type == "Mul" for node in after.graph.node) == (act == "HardSwish")


@pytest.mark.parametrize("variant", [op.Variant(skip="add"), op.Variant(epilogue="silu"), op.Variant(epilogue="hardswish")])
def test_blocks_that_let_no_factor_through_are_left_alone(variant: op.Variant) -> None:
    assert equalise.candidates(Graph("dense", "Relu", variant).model()) == []


def test_a_tensor_that_anything_else_reads_is_left_alone() -> None:
    graph = Graph("depthwise", "Relu")
    assert equalise.candidates(graph.model("m1")) == []
    graph.nodes.append(helper.make_node("Abs", ["m1"], ["other"], "other"))
    assert equalise.candidates(graph.model()) == []


def test_an_output_between_keeps_its_values() -> None:
    """The Mul is for the one who needs it: m0 is an output, so the convolution before cannot be changed."""
    graph = Graph("depthwise", "Relu")
    (one,) = equalise.candidates(graph.model("m0"))
    assert not one.free
    after = equalise.equalised(graph.model("m0"), {"m1": FACTORS})
    np.testing.assert_array_equal(answers(after)[1], answers(graph.model("m0"))[1])


def test_shared_weights_are_changed_for_one_reader_alone() -> None:
    graph = Graph("dense", "Relu")
    graph.nodes.append(helper.make_node("Conv", ["y", "d.w"], ["z0"], "conv2", kernel_shape=[1, 1]))
    graph.put("d.w", C, OUT, 1, 1)
    graph.nodes.append(helper.make_node("Conv", ["z0", "c1.w", "c1.b"], ["z"], "conv3", pads=[1, 1, 1, 1]))
    model = graph.model("z")
    after = equalise.equalised(model, {"m1": FACTORS})
    for was, now in zip(answers(model), answers(after), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-5 * np.abs(was).max())


def test_several_tensors_at_once() -> None:
    graph = Graph("depthwise", "Relu")
    graph.nodes += [
        helper.make_node("Relu", ["y"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", graph.put("c2.w", OUT, C, 1, 1)], ["z"], "conv2"),
    ]
    model = graph.model()
    model.graph.output[0].name = "z"
    after = equalise.equalised(model, {"m1": FACTORS, "r1": FACTORS[::-1].copy()})
    same(model, after)
    assert not any(node.op_type == "Mul" for node in after.graph.node)


@pytest.mark.parametrize("factors", [FACTORS[:-1], -FACTORS, FACTORS * np.float32(np.inf), np.zeros(C, np.float32)])
def test_factors_that_do_not_fit_are_refused(factors: np.ndarray) -> None:
    with pytest.raises(GraphError, match="the channels of m1 cannot be equalised; calibrate again"):
        equalise.equalised(Graph("depthwise", "Relu").model(), {"m1": factors})


def test_a_tensor_that_is_none_of_the_graphs_is_refused() -> None:
    with pytest.raises(GraphError, match="the channels of m9 cannot be equalised"):
        equalise.equalised(Graph("depthwise", "Relu").model(), {"m9": FACTORS})


def normalised(bias: bool, *, shared: bool = False) -> ModelProto:
    """conv0 ─ BatchNorm ─ Identity ─ conv1."""
    graph = Graph("dense", "")
    for name in "sbm":
        graph.put(f"bn.{name}", C)
    graph.tensors["bn.v"] = graph.rng.uniform(0.1, 3, C).astype(np.float32)
    graph.nodes[0].output[0] = "m0"
    if not bias:
        del graph.nodes[0].input[2:]
    norm = helper.make_node("BatchNormalization", ["m0", "bn.s", "bn.b", "bn.m", "bn.v"], ["bn"], "bn", epsilon=0.01)
    graph.nodes[1:1] = [norm, helper.make_node("Identity", ["bn"], ["m1"], "identity")]
    return graph.model(*(["m0"] if shared else []))


@pytest.mark.parametrize("bias", [True, False])
def test_batchnorm_and_identity_go_into_the_convolution(bias: bool) -> None:
    model = normalised(bias)
    after = folded(model)
    same(model, after)
    assert [(node.op_type, node.output[0]) for node in after.graph.node] == [("Conv", "bn"), ("Conv", "y")]


def test_a_batchnorm_whose_input_others_read_stays() -> None:
    after = folded(normalised(True, shared=True))
    assert [node.op_type for node in after.graph.node] == ["Conv", "BatchNormalization", "Conv"]
