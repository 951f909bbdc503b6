import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, inliner, numpy_helper, parser

from se_deploy import op
from se_deploy.graph import shapes
from se_deploy.graph.fuse import fuse
from se_deploy.graph.half import to_half
from se_deploy.graph.names import name_by_module
from tests.graph.exported import exported, images, run
from tests.graph.halves import kept, numpy_half

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def parsed(body: str, weights: dict[str, np.ndarray] | None = None, opset: int = 17) -> onnx.ModelProto:
    """A model from ONNX's text form; `weights` become initializers."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}, "other" : 1]> {body}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (weights or {}).items())
    onnx.checker.check_model(model)
    return model


def halved(model: onnx.ModelProto, notes: list[str] | None = None) -> onnx.ModelProto:
    half = to_half(model, notes)
    onnx.checker.check_model(half, full_check=True)
    assert {v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)} == {FLOAT}
    return half


def types(model: onnx.ModelProto) -> dict[str, list[int]]:
    """By node: the types of what it reads."""
    known = shapes.infer(model)
    return {node.name: [known[name].elem_type for name in node.input if name] for node in model.graph.node}


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def assert_no_half_reduce(model: onnx.ModelProto) -> None:
    """No node of the inlined graph sums FP16 values."""
    flat = inliner.inline_local_functions(model)
    known = shapes.infer(flat)
    wide = [n for n in flat.graph.node if n.op_type == "AveragePool" and np.prod(n.attribute[0].ints) > 16]
    reduces = wide + [n for n in flat.graph.node if n.op_type.startswith("Reduce") or n.op_type == "GlobalAveragePool"]
    assert reduces
    assert {known[n.input[0]].elem_type for n in reduces} == {FLOAT}


def se_model(
    variant: op.Variant, weights: dict[str, np.ndarray], attributes: dict[str, float], side: int, opset: int = 17
) -> onnx.ModelProto:
    """x, through a Relu, into a SqueezeExcite node, through a Relu."""
    names = {"x": "a", "residual": "x"}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "first/Relu"),
        op.make_node(variant, [names.get(n, n) for n in variant.inputs], "b", "layer1.se", attributes),
        helper.make_node("Relu", ["b"], ["y"], "last/Relu"),
    ]
    values = [helper.make_tensor_value_info(n, FLOAT, ["N", len(weights["b2"]), side, side]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(v, n) for n, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    op.declare(model)
    return model


@pytest.mark.parametrize(
    "mean",
    [
        "y = GlobalAveragePool(x)",
        "y = ReduceMean<axes = [2, 3]>(x)",
        "y = AveragePool<kernel_shape = [112, 112]>(x)",
        "s = ReduceSum(x, axes) y = Div(s, count)",
        "s = ReduceSum(x, axes) t = Mul(s, share) y = Reshape(t, same)",
    ],
)
def test_a_mean_of_10_at_112x112_stays_10(mean: str) -> None:
    weights = {"axes": np.array([2, 3]), "count": np.float32(112 * 112), "share": np.float32(1 / 12544), "same": np.array([-1, 2, 1, 1])}
    used = {name: np.asarray(value) for name, value in weights.items() if f"{name})" in mean}
    nodes = f"[first] x = Relu(input) {mean} output = Relu(y)"
    model = parsed(f"g (float[N, 2, 112, 112] input) => (float[N, 2, 1, 1] output) {{ {nodes} }}", used)
    half = halved(model)
    assert_no_half_reduce(half)
    assert types(half)["first"] == [HALF]
    np.testing.assert_array_equal(run(half, np.full((2, 2, 112, 112), 10, np.float32)), np.full((2, 2, 1, 1), 10, np.float32))


def test_a_mean_of_10_at_112x112_stays_10_in_a_fused_block() -> None:
    weights = {"w2": np.eye(2, dtype=np.float32), "b2": np.zeros(2, np.float32)}
    model = se_model(op.Variant("none", "hardsigmoid"), weights, {"alpha": 0.05, "beta": 0.0}, 112)
    half = halved(model)
    assert_no_half_reduce(half)
    assert types(half)["layer1.se"] == [HALF, FLOAT, FLOAT]
    np.testing.assert_array_equal(run(half, np.full((2, 2, 112, 112), 10, np.float32)), np.full((2, 2, 112, 112), 5, np.float32))


MEANS = {
    "a global average": "p = GlobalAveragePool(x)",
    "a mean": "p = ReduceMean<axes = [2, 3]>(x)",
    "a sum and a division": "s = ReduceSum(x, axes) p = Div(s, count)",
}


@pytest.mark.parametrize("mean", MEANS.values(), ids=MEANS)
@pytest.mark.parametrize("fused", [False, True])
def test_the_block_stays_finite_and_right_in_numpys_half_arithmetic(mean: str, fused: bool) -> None:
    """ONNX Runtime's CPU provider computes FP16 in FP32; ONNX's NumPy reference does not. The sum over the map is 125,440."""
    weights = {
        "axes": np.array([2, 3]),
        "count": np.float32(112 * 112),
        "w1": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1),
        "w2": np.full((2, 2, 1, 1), 0.1, np.float32),
    }
    nodes = (
        f"[first] x = Relu(input) {mean} h = Conv(p, w1) r = Relu(h) q = Conv(r, w2) g = Sigmoid(q) [join] y = Mul(x, g) output = Relu(y)"
    )
    used = {name: np.asarray(value) for name, value in weights.items() if f"{name})" in nodes}
    plain = parsed(f"g (float[N, 2, 112, 112] input) => (float[N, 2, 112, 112] output) {{ {nodes} }}", used)
    model = fuse(plain).model if fused else plain
    assert sum(node.domain == op.DOMAIN for node in model.graph.node) == int(fused)
    x = np.full((1, 2, 112, 112), 10, np.float32)
    values = numpy_half(halved(model), x)
    assert {values[name].dtype for name in ("x", "output_fp16")} == {np.dtype(np.float16)}
    wanted = np.float16(10) * np.float16(1 / (1 + np.exp(-2)))
    np.testing.assert_allclose(values["output"], np.full_like(x, wanted), rtol=1e-3)


def test_a_sum_in_half_does_not_stay_finite() -> None:
    """What the tests around this one would see, were the mean FP16: they can fail."""
    body = "g (float16[N, 2, 112, 112] x) => (float16[N, 2, 1, 1] y) { s = ReduceSum(x, axes) y = Div(s, count) }"
    model = parsed(body, {"axes": np.array([2, 3]), "count": np.asarray(np.float16(112 * 112))})
    assert np.isinf(numpy_half(model, np.full((1, 2, 112, 112), 10, np.float16))["y"]).all()


@pytest.mark.parametrize("opset", [13, 17])
def test_a_fused_block_takes_half_maps_and_float_weights(opset: int) -> None:
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in {"w1": (2, 6), "b1": (2,), "w2": (6, 2), "b2": (6,)}.items()}
    model = se_model(op.Variant("silu", "sigmoid", "add", "relu"), weights, {}, 9, opset)
    before = model.SerializeToString(deterministic=True)
    half = halved(model)
    assert model.SerializeToString(deterministic=True) == before
    assert types(half)["layer1.se"] == [HALF, FLOAT, FLOAT, FLOAT, FLOAT, HALF]
    assert types(half)["last/Relu"] == [HALF]
    assert max(o.version for o in half.opset_import) == max(opset, 15)
    assert ops(half) == ["Cast", "Relu", op.Variant("silu", "sigmoid", "add", "relu").name, "Relu", "Cast"]
    assert [f.name for f in half.functions] == [op.Variant("silu", "sigmoid", "add", "relu").name]
    x = rng.standard_normal((3, 6, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(run(half, x), run(model, x), atol=4e-3)


@pytest.mark.parametrize(("name", "blocks"), [("mobilenetv3_small_050", 9), ("legacy_seresnet18", 8), ("ecaresnet26t", 8)])
def test_real_networks(name: str, blocks: int) -> None:
    model = exported(name)
    name_by_module(model)
    half = halved(model)
    assert_no_half_reduce(half)
    known = shapes.infer(half)
    made = {node.output[0]: node for node in half.graph.node}
    joins = [n for n in half.graph.node if n.op_type == "Mul" and any(made[i].op_type == "Cast" for i in n.input if i in made)]
    assert len(joins) == blocks
    assert {known[i].elem_type for n in joins for i in n.input} == {HALF}
    gates = [n for n in half.graph.node if n.op_type in ("Conv", "Sigmoid", "HardSigmoid") and ".se" in n.name]
    assert len(gates) >= 2 * blocks
    assert {known[i].elem_type for n in gates for i in n.input} == {FLOAT}
    assert known[half.graph.node[-2].input[1]].elem_type == HALF  # the classifier's weights
    for batch in (1, 3):
        x = images(batch, 64)
        expected, actual = run(model, x), run(half, x)
        assert np.abs(actual - expected).max() < 3e-3 * np.ptp(expected)
    assert half.ByteSize() < 0.62 * model.ByteSize()
    again = halved(half)
    assert again.SerializeToString(deterministic=True) == half.SerializeToString(deterministic=True)


CONV = "g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) { a = Relu(x) [conv] b = Conv(a, w, c) y = Relu(b) }"


@pytest.mark.parametrize(
    ("weight", "bias", "note"),
    [
        (1e5, 0.5, "conv stays in FP32: w reaches 1e+05, FP16 ends at 65504"),
        (-1e5, 0.5, "conv stays in FP32: w reaches 1e+05, FP16 ends at 65504"),
        (0.5, 7e4, "conv stays in FP32: c reaches 7e+04, FP16 ends at 65504"),
        (1e-6, 0.5, "conv stays in FP32: w is 1e-06 at most, FP16 is exact down to 6.1e-05"),
        (0.5, 1e-6, None),
        (0.0, 0.0, None),
        (65504, 6.2e-5, None),
    ],
)
def test_weights_that_half_cannot_hold(weight: float, bias: float, note: str | None) -> None:
    model = parsed(CONV, {"w": np.full((2, 2, 1, 1), weight, np.float32), "c": np.full(2, bias, np.float32)})
    notes: list[str] = []
    half = halved(model, notes)
    assert notes == ([note] if note else [])
    assert types(half)["conv"] == [FLOAT if note else HALF] * 3
    x = np.full((1, 2, 4, 4), 1e-3, np.float32)
    np.testing.assert_allclose(run(half, x), run(model, x), rtol=2e-3)


def test_small_divisors_stay() -> None:
    ones = np.ones(2, np.float32)
    weights = {"s": ones, "b": ones, "m": ones, "v": np.array([1, 1e-7], np.float32)}
    body = "g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) { [bn] y = BatchNormalization(x, s, b, m, v) }"
    notes: list[str] = []
    half = halved(parsed(body, weights), notes)
    assert notes == ["bn stays in FP32: v divides by 1e-07, FP16 is exact down to 6.1e-05"]
    assert ops(half) == ["BatchNormalization"]


def test_a_small_divisor_behind_a_convolution_goes_into_its_weights() -> None:
    rng = np.random.default_rng(0)
    weights = {"w": 1e-3 * rng.standard_normal((2, 2, 1, 1)), "s": np.ones(2), "b": np.ones(2), "m": np.zeros(2), "v": np.array([1, 1e-7])}
    body = """g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) {
        [conv] c = Conv(x, w)
        [bn] y = BatchNormalization(c, s, b, m, v)
    }"""
    model = parsed(body, {name: value.astype(np.float32) for name, value in weights.items()})
    notes: list[str] = []
    half = halved(model, notes)
    assert (ops(half), notes) == (["Cast", "Conv", "Cast"], [])
    x = rng.standard_normal((3, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(numpy_half(half, x)["y"], run(model, x), rtol=4e-3, atol=4e-3)


def test_infinities_pass() -> None:
    body = "g (float[1, 2, 4, 4] x) => (float[1, 2, 5, 5] y) { [pad] p = Pad(x, pads, low) y = Relu(p) }"
    model = parsed(body, {"pads": np.array([0, 0, 0, 0, 0, 0, 1, 1]), "low": np.asarray(-np.inf, np.float32)})
    half = halved(model)
    assert types(half)["pad"] == [HALF, TensorProto.INT64, HALF]


def test_an_input_that_has_to_be_float_stays_float() -> None:
    body = "g (float[1, 2, 4, 4] x) => (float[1, 2, 8, 8] y) { a = Relu(x) [up] y = Resize(a, , scales) }"
    half = halved(parsed(body, {"scales": np.array([1, 1, 2, 2], np.float32)}))
    assert types(half)["up"] == [HALF, FLOAT]


def test_constants_on_their_way_become_half_weights() -> None:
    body = """g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) {
        flat = Constant<value_floats = [1.5, 2.5]>()
        shape = Constant<value_ints = [1, 2, 1, 1]>()
        bias = Reshape(flat, shape)
        [add] a = Add(x, bias)
        y = Relu(a)
    }"""
    half = halved(parsed(body))
    assert ops(half) == ["Cast", "Add", "Relu", "Cast"]
    assert [(i.name, i.data_type, list(i.dims)) for i in half.graph.initializer] == [("bias", HALF, [1, 2, 1, 1])]


def test_a_weight_read_in_both_precisions() -> None:
    body = "g (float[N, 2] x) => (float[N, 2] y, float[2] z) { a = Relu(x) b = Mul(a, w) y = Relu(b) z = Identity(w) }"
    half = halved(parsed(body, {"w": np.ones(2, np.float32)}))
    assert {(i.name, i.data_type) for i in half.graph.initializer} == {("w", FLOAT), ("w_fp16", HALF)}


def test_an_output_that_is_read_further_on() -> None:
    body = "g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y, float[N, 2, 4, 4] z) { y = Relu(x) z = Neg(y) }"
    half = halved(parsed(body))
    assert [(n.op_type, *n.input, *n.output) for n in half.graph.node] == [
        ("Cast", "x", "x_fp16"),
        ("Relu", "x_fp16", "y_fp16"),
        ("Cast", "y_fp16", "y"),
        ("Neg", "y_fp16", "z_fp16"),
        ("Cast", "z_fp16", "z"),
    ]


def test_nodes_of_other_domains_and_with_subgraphs_stay() -> None:
    body = """g (float[2] x, bool yes) => (float[2] y) {
        a = Relu(x)
        b = If(yes) <
            then_branch = then () => (float[2] c) { c = Neg(a) },
            else_branch = other () => (float[2] d) { d = Identity(a) }
        >
        y = Relu(b)
    }"""
    half = to_half(parsed(body))
    onnx.checker.check_model(half, full_check=True)
    assert ops(half) == ["Cast", "Relu", "Cast", "If", "Cast", "Relu", "Cast"]
    custom = parsed("g (float[2] x) => (float[2] y) { a = Relu(x) b = other.Thing(a) c = Relu(b) y = Neg(a) }")
    custom.graph.output.append(helper.make_tensor_value_info("c", FLOAT, [2]))
    half = to_half(custom)
    assert ops(half) == ["Cast", "Relu", "Cast", "Thing", "Relu", "Neg", "Cast"]


def test_a_fused_network() -> None:
    plain = exported("legacy_seresnet18")
    name_by_module(plain)
    model = fuse(plain).model
    half = halved(model)
    assert_no_half_reduce(half)
    assert [kinds for name, kinds in types(half).items() if name.endswith(".se_module")] == [[HALF, FLOAT, FLOAT, FLOAT, FLOAT, HALF]] * 8
    assert sum(kind == "Cast" for kind in ops(half)) == 4  # the input, the last mean's input, the classifier's, the output
    assert len({node.name for node in half.graph.node}) == len(half.graph.node)
    x = images(3, 64)
    assert kept(model, x) == {}
    expected, actual = run(model, x), run(half, x)
    assert np.abs(actual - expected).max() < 3e-3 * np.ptp(expected)
