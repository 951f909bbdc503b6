import itertools
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.graph.fold import fold
from se_deploy.graph.narrow import Channels, Narrowed, narrow

C, R, OUT = 8, 4, 6
#: What stands between the convolution and the block, and where the factor has to go then.
BETWEEN = {"": "before", "Relu": "before", "MaxPool": "before", "BatchNormalization": "before", "SiLU": "behind", "HardSwish": "behind"}


class Net:
    """conv0 ─ between ─ SqueezeExcite ─ conv1, weights drawn; `shared` gives x out as well, `plain` leaves conv1 out."""

    def __init__(
        self, variant: op.Variant, between: str = "", *, shared: bool = False, bare: bool = False, depthwise: bool = False
    ) -> None:
        rng = np.random.default_rng(11)
        self.tensors: dict[str, np.ndarray] = {}
        nodes = [helper.make_node("Conv", ["input", self.put("c0.w", rng, C, 3, 3, 3), self.put("c0.b", rng, C)], ["m0"], "conv0")]
        x = "m0"
        if depthwise:
            nodes.append(helper.make_node("Conv", [x, self.put("dw.w", rng, C, 1, 3, 3), self.put("dw.b", rng, C)], ["dw"], "dw", group=C))
            x = "dw"
        x = self.between(nodes, between, x, rng)
        own = {"w1": (R, C), "b1": (R,), "w2": (C, C if variant.act == "none" else R), "b2": (C,), "slope": (R,)}
        names = [x if key == "x" else "residual" if key == "residual" else self.put(f"se.{key}", rng, *own[key]) for key in variant.inputs]
        attributes = {"alpha": 0.4, "beta": 0.7, "leak": 0.1}
        nodes.append(op.make_node(variant, names, "y" if bare else "se", "se", {k: attributes[k] for k in variant.attributes}))
        if not bare:
            nodes.append(helper.make_node("Conv", ["se", self.put("c1.w", rng, OUT, C, 1, 1), self.put("c1.b", rng, OUT)], ["y"], "conv1"))
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 9, 9])]
        if variant.skip == "add":
            inputs.append(helper.make_tensor_value_info("residual", TensorProto.FLOAT, ["N", C, None, None]))
        outputs = ["y"] + ([x] if shared else [])
        values = [numpy_helper.from_array(v, k) for k, v in self.tensors.items()]
        graph = helper.make_graph(
            nodes, "g", inputs, [helper.make_tensor_value_info(o, TensorProto.FLOAT, [None] * 4) for o in outputs], values
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        op.declare(self.model)
        self.variant = variant

    def put(self, name: str, rng: np.random.Generator, *shape: int) -> str:
        self.tensors[name] = (rng.standard_normal(shape) / 2).astype(np.float32)
        return name

    def between(self, nodes: list[onnx.NodeProto], kind: str, x: str, rng: np.random.Generator) -> str:
        match kind:
            case "":
                return x
            case "BatchNormalization":
                names = [self.put(f"bn.{k}", rng, C) for k in "sbmv"]
                self.tensors["bn.v"] = np.abs(self.tensors["bn.v"]) + 1
                nodes.append(helper.make_node(kind, [x, *names], ["between"], "bn"))
            case "SiLU":
                nodes.append(helper.make_node("Sigmoid", [x], ["sig"]))
                nodes.append(helper.make_node("Mul", [x, "sig"], ["between"]))
            case "MaxPool":
                nodes.append(helper.make_node(kind, [x], ["between"], kernel_shape=[2, 2]))
            case _:
                nodes.append(helper.make_node(kind, [x], ["between"]))
        return "between"

    def hold(self, gate: np.ndarray, still: np.ndarray) -> ModelProto:
        """The model with these gates constant: rows of W2 zero, biases what gives them."""
        values = {"alpha": 0.4, "beta": 0.7}
        inverse = {
            "sigmoid": lambda g: np.log(g / (1 - g)), "hardsigmoid": lambda g: (g - values["beta"]) / values["alpha"],
            "tanh": lambda g: np.arctanh((g - values["beta"]) / values["alpha"]),
        }[self.variant.gate]  # fmt: skip
        model = ModelProto.FromString(self.model.SerializeToString())
        w2, b2 = self.tensors["se.w2"].copy(), self.tensors["se.b2"].copy()
        w2[still], b2[still] = 0, inverse(gate[still].astype(np.float64))
        for tensor in model.graph.initializer:
            if tensor.name in ("se.w2", "se.b2"):
                tensor.CopyFrom(numpy_helper.from_array(w2 if tensor.name == "se.w2" else b2, tensor.name))
        return model


def answers(model: ModelProto, side: int) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(2)
    feeds = {"input": rng.standard_normal((3, 3, 9, 9)).astype(np.float32)}
    feeds |= {"residual": rng.standard_normal((3, C, side, side)).astype(np.float32)} if len(session.get_inputs()) > 1 else {}
    return session.run(None, feeds)


def blocks(model: ModelProto) -> int:
    return sum(op.variant_of(node) is not None for node in model.graph.node)


GATE = np.linspace(0.35, 0.95, C).astype(np.float32)
ALL = np.ones(C, bool)
SOME = np.arange(C) % 3 == 0


@pytest.mark.parametrize(
    ("between", "skip", "epilogue", "gate"), list(itertools.product(BETWEEN, op.SKIPS, ("none", "relu", "silu"), op.GATES))
)
def test_a_planted_constant_gate_is_folded_exactly(between: str, skip: str, epilogue: str, gate: str) -> None:
    net = Net(op.Variant("relu", gate, skip, epilogue), between)
    model = net.hold(GATE, ALL)
    side = 6 if between == "MaxPool" else 7
    made = fold(model, {"se": GATE})
    assert blocks(made.model) == 0
    assert not made.model.functions
    assert not any(t.name.startswith("se.") and not t.name.startswith("se.gate") for t in made.model.graph.initializer)
    forward = BETWEEN[between] == "behind" and (skip == "add" or epilogue == "silu")
    assert made.places == {"se": "mul" if forward else BETWEEN[between]}
    [got], [expected] = answers(made.model, side), answers(model, side)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    assert np.abs(got - answers(net.model, side)[0]).max() > 1e-2, "the gate that was planted differs from the drawn one"


@pytest.mark.parametrize("bare", [True, False])
def test_a_map_that_others_read_keeps_its_values(bare: bool) -> None:
    net = Net(op.Variant(), "Relu", shared=True, bare=bare)
    model = net.hold(GATE, ALL)
    made = fold(model, {"se": GATE})
    assert made.places == {"se": "mul" if bare else "behind"}
    for got, expected in zip(answers(made.model, 7), answers(model, 7), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_block_that_gives_the_networks_output_folds() -> None:
    net = Net(op.Variant(), bare=True)
    model = net.hold(GATE, ALL)
    made = fold(model, {"se": GATE})
    assert [o.name for o in made.model.graph.output] == ["y"]
    np.testing.assert_allclose(answers(made.model, 7)[0], answers(model, 7)[0], atol=1e-5)


def test_weights_that_two_layers_share_are_changed_for_one() -> None:
    net = Net(op.Variant(), bare=True)
    model = net.hold(GATE, ALL)
    model.graph.node.append(helper.make_node("Conv", ["input", "c0.w", "c0.b"], ["again"], "twin"))
    model.graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, [None] * 4))
    made = fold(model, {"se": GATE})
    for got, expected in zip(answers(made.model, 7), answers(model, 7), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(("act", "gate", "skip"), list(itertools.product(op.ACTS, op.GATES, op.SKIPS)))
def test_constant_channels_are_folded_and_the_others_gates_stay(act: str, gate: str, skip: str) -> None:
    net = Net(op.Variant(act, gate, skip, "relu"), "Relu")
    model = net.hold(GATE, SOME)
    made = narrow(model, "se", Channels(GATE, SOME, np.zeros(C, np.float32)))
    assert made is not None
    assert (made.folded, made.removed) == (int(SOME.sum()), 0)
    w2 = next(numpy_helper.to_array(t) for t in made.model.graph.initializer if t.name.startswith("se.w2"))
    assert (w2 == 0).all(1).tolist() == SOME.tolist()
    [got], [expected] = answers(made.model, 7), answers(model, 7)
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())


def test_hidden_units_that_only_constant_channels_read_go() -> None:
    net = Net(op.Variant())
    net.tensors["se.w2"][:, 1] = 0
    net.tensors["se.w2"][SOME, 1] = 3
    model = net.hold(GATE, SOME)
    made = narrow(model, "se", Channels(GATE, SOME, np.zeros(C, np.float32)))
    assert made is not None
    assert made.units == 1
    shapes = {t.name.removesuffix(".folded"): tuple(t.dims) for t in made.model.graph.initializer}
    assert (shapes["se.w1"], shapes["se.b1"], shapes["se.w2"]) == ((R - 1, C), (R - 1,), (C, R - 1))
    np.testing.assert_allclose(answers(made.model, 7)[0], answers(model, 7)[0], atol=1e-5)


def without_dead(net: Net) -> tuple[ModelProto, Narrowed]:
    """The network whose SOME channels are dead and unseen by W1, and what it is narrowed to."""
    net.tensors["se.w1"][:, SOME] = 0
    model = net.hold(np.full(C, 1e-30, np.float32), SOME)
    for tensor in model.graph.initializer:
        if tensor.name == "se.w1":
            tensor.CopyFrom(numpy_helper.from_array(net.tensors["se.w1"], "se.w1"))
    made = narrow(model, "se", Channels(np.where(SOME, 0, GATE).astype(np.float32), SOME, np.ones(C, np.float32)))
    assert made is not None
    return model, made


@pytest.mark.parametrize(
    ("between", "depthwise"), list(itertools.product(("", "Relu", "SiLU", "HardSwish", "BatchNormalization"), (False, True)))
)
def test_dead_channels_go_on_both_sides(between: str, depthwise: bool) -> None:
    net = Net(op.Variant(epilogue="relu"), between, depthwise=depthwise)
    model, made = without_dead(net)
    assert made.removed == SOME.sum() == 3
    dims = {t.name: list(t.dims) for t in made.model.graph.initializer}
    sizes = {node.name: dims[node.input[1]] for node in made.model.graph.node if node.op_type == "Conv"}
    assert (sizes["conv0"][0], sizes["conv1"][1]) == (C - 3, C - 3)
    side = 5 if depthwise else 7
    np.testing.assert_allclose(answers(made.model, side)[0], answers(model, side)[0], atol=1e-5)


def test_what_a_dead_channel_tells_the_others_on_average_stays() -> None:
    """Its pooled mean goes into the bias: with W1 looking at it, the others' gates are right for a channel that pools to that mean."""
    net = Net(op.Variant())
    dead = np.arange(C) == 2
    net.tensors["c0.w"][2], net.tensors["c0.b"][2] = 0, 1.5
    for tensor in net.model.graph.initializer:
        if tensor.name in ("c0.w", "c0.b"):
            tensor.CopyFrom(numpy_helper.from_array(net.tensors[tensor.name], tensor.name))
    model = net.hold(np.full(C, 1e-30, np.float32), dead)
    made = narrow(model, "se", Channels(np.where(dead, 0, GATE).astype(np.float32), dead, np.full(C, 1.5, np.float32)))
    assert made is not None
    assert made.removed == 1
    np.testing.assert_allclose(answers(made.model, 7)[0], answers(model, 7)[0], atol=1e-5)


def test_dead_channels_of_a_residual_block_are_zero_and_no_one_looks_at_them() -> None:
    net = Net(replace(op.Variant(), skip="add"))
    model, made = without_dead(net)
    assert (made.removed, made.folded) == (0, 3)
    np.testing.assert_allclose(answers(made.model, 7)[0], answers(model, 7)[0], atol=1e-5)


def test_a_layer_that_cannot_take_the_factors_leaves_the_block_as_it_is() -> None:
    assert narrow(Net(op.Variant(), "SiLU").model, "se", Channels(GATE, SOME, GATE)) is None
