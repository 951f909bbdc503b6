"""Every variant's function body, run by ONNX Runtime without its optimiser, against the NumPy reference."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from se_deploy import op

C, R = 6, 4
SPATIAL = {1: (9,), 2: (5, 7), 3: (2, 3, 4)}
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.INT8}


def inputs_of(variant: op.Variant, dtype: str, spatial: tuple[int, ...], batch: int, rng: np.random.Generator) -> dict:
    def tensor() -> np.ndarray:
        shape = (batch, C, *spatial)
        if dtype == "int8":
            return rng.integers(-128, 128, shape, dtype=np.int8)
        return (rng.standard_normal(shape) * 2 + rng.standard_normal((1, C, *[1] * len(spatial)))).astype(dtype)

    sizes = {"w1": (R, C), "b1": (R,), "w2": (C, C if variant.act == "none" else R), "b2": (C,), "slope": (R,)}
    return {
        name: tensor() if name in ("x", "residual") else rng.standard_normal(sizes[name]).astype(np.float32) * 2 for name in variant.inputs
    }


def attributes_of(variant: op.Variant, rng: np.random.Generator) -> dict[str, float]:
    ranges = {"alpha": (0.1, 0.3), "beta": (0.3, 0.6), "leak": (0.05, 0.3), "x_scale": (0.02, 0.05), "residual_scale": (0.02, 0.05)}
    return {name: float(np.float32(rng.uniform(*ranges.get(name, (0.03, 0.06))))) for name in variant.attributes}


def model_of(variant: op.Variant, inputs: dict, attributes: dict[str, float], opset: int, planes: bool = False) -> onnx.ModelProto:
    node = op.make_node(variant, list(variant.inputs), "out", "layer3.2.se", attributes)
    kind = TYPES[str(inputs["x"].dtype)]
    rank = inputs["x"].ndim
    values = [
        helper.make_tensor_value_info(
            name,
            kind if name in ("x", "residual") else TensorProto.FLOAT,
            [None] * rank if name in ("x", "residual") else list(inputs[name].shape),
        )
        for name in variant.inputs
    ]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("out", kind, [None] * rank)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    op.declare(model, planes=planes)
    return model


def run(model: onnx.ModelProto, inputs: dict) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def check(variant: op.Variant, dtype: str, rank: int, opset: int, seed: int, planes: bool = False) -> None:
    rng = np.random.default_rng(seed)
    inputs = inputs_of(variant, dtype, SPATIAL[rank], batch=3, rng=rng)
    attributes = attributes_of(variant, rng)
    want = op.reference(variant, inputs, attributes)
    got = run(model_of(variant, inputs, attributes, opset, planes), inputs)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if dtype == "int8":  # a value on a rounding edge may fall to either side
        assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
        assert (got != want).mean() < 0.02
    else:
        np.testing.assert_allclose(got, want, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-5)


def every(int8: bool) -> list:
    return [pytest.param(v, id=name) for name, v in op.VARIANTS.items() if v.int8 == int8]


@pytest.mark.parametrize("variant", every(False))
def test_float_body_equals_reference(variant: op.Variant) -> None:
    check(variant, "float32", rank=2, opset=17, seed=1)


@pytest.mark.parametrize("variant", every(False))
def test_half_body_equals_reference(variant: op.Variant) -> None:
    check(variant, "float16", rank=2, opset=17, seed=2)


@pytest.mark.parametrize("variant", every(True))
def test_int8_body_equals_reference(variant: op.Variant) -> None:
    check(variant, "int8", rank=2, opset=17, seed=3)


@pytest.mark.parametrize("opset", [12, 13, 14, 15, 16, 18, 19, 20, 21])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("int8", [False, True])
def test_every_opset_and_rank(opset: int, rank: int, int8: bool) -> None:
    for act, gate, skip, epilogue in [
        ("relu", "sigmoid", "add", "relu"),
        ("prelu", "tanh", "self", "silu"),
        ("gelu", "hardsigmoid", "none", "hardswish"),
        ("none", "sigmoid", "none", "none"),
    ]:
        variant = op.Variant(act, gate, skip, epilogue, int8)
        check(variant, "int8" if int8 else "float32", rank, opset, seed=opset)


@pytest.mark.parametrize("opset", [13, 17, 18, 20, 21])
@pytest.mark.parametrize("skip", ["none", "self", "add"])
def test_the_body_for_planes_equals_the_reference(opset: int, skip: str) -> None:
    for act, gate, epilogue in [("relu", "sigmoid", "relu"), ("hardswish", "hardsigmoid", "none"), ("none", "sigmoid", "silu")]:
        check(op.Variant(act, gate, skip, epilogue), "float32", 2, opset, seed=opset, planes=True)


def test_two_nodes_of_one_variant_share_a_function_and_keep_their_own_numbers() -> None:
    rng = np.random.default_rng(0)
    variant = op.Variant("relu", "hardsigmoid")
    inputs = inputs_of(variant, "float32", (5, 7), 2, rng)
    first = op.make_node(variant, list(variant.inputs), "mid", "a", {"alpha": 0.2, "beta": 0.5})
    second = op.make_node(variant, ["mid", *variant.inputs[1:]], "out", "b", {"alpha": 1 / 6, "beta": 0.4})
    model = model_of(variant, inputs, {"alpha": 0.2, "beta": 0.5}, 17)
    del model.graph.node[:]
    model.graph.node.extend([first, second])
    op.declare(model)
    assert len(model.functions) == 1
    mid = op.reference(variant, inputs, {"alpha": 0.2, "beta": 0.5})
    want = op.reference(variant, {**inputs, "x": mid}, {"alpha": 1 / 6, "beta": 0.4})
    np.testing.assert_allclose(run(model, inputs), want, rtol=1e-5, atol=1e-5)


def test_half_precision_mean_of_10_at_112x112_stays_10() -> None:
    """The sum is 125,440, beyond FP16's 65,504: accumulated in FP16 it is infinite."""
    variant = op.Variant("relu", "hardsigmoid")
    inputs = inputs_of(variant, "float16", (112, 112), 2, np.random.default_rng(0))
    inputs["x"] = np.full((2, C, 112, 112), 10, np.float16)
    inputs |= {
        "w1": np.eye(R, C, dtype=np.float32),
        "b1": np.zeros(R, np.float32),
        "w2": np.eye(C, R, dtype=np.float32),
        "b2": np.zeros(C, np.float32),
    }
    attributes = {"alpha": 0.05, "beta": 0.0}  # the gate of the first R channels is 10 * 0.05
    got = run(model_of(variant, inputs, attributes, 17), inputs)
    np.testing.assert_array_equal(got[:, :R], np.float16(5))
    np.testing.assert_array_equal(op.reference(variant, inputs, attributes), got)


def test_zero_weights_give_a_gate_of_exactly_one_half() -> None:
    variant = op.Variant()
    inputs = inputs_of(variant, "float32", (4, 4), 2, np.random.default_rng(0))
    inputs |= {k: np.zeros_like(inputs[k]) for k in ("w2", "b2")}
    np.testing.assert_array_equal(op.reference(variant, inputs), inputs["x"] / 2)
    np.testing.assert_array_equal(run(model_of(variant, inputs, {}, 17), inputs), inputs["x"] / 2)


def test_node_refuses_missing_inputs_and_attributes() -> None:
    with pytest.raises(ValueError, match="takes x, w1, b1, w2, b2"):
        op.make_node(op.Variant(), ["x", "w1"], "y", "n")
    with pytest.raises(ValueError, match="needs the attributes"):
        op.make_node(op.Variant(gate="hardsigmoid"), ["x", "w1", "b1", "w2", "b2"], "y", "n", {"alpha": 0.2})
    with pytest.raises(ValueError, match="gate 'softmax'"):
        op.Variant(gate="softmax")


def test_declare_drops_what_is_unused() -> None:
    rng = np.random.default_rng(0)
    variant = op.Variant()
    model = model_of(variant, inputs_of(variant, "float32", (4, 4), 1, rng), {}, 17)
    assert model.ir_version == op.MIN_IR_VERSION
    del model.graph.node[:]
    op.declare(model)
    assert not model.functions
    assert [o.domain for o in model.opset_import] == [""]
