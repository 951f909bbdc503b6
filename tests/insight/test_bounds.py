import itertools

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from se_deploy import op
from se_deploy.insight import bounds
from se_deploy.insight.bounds import Box

C, R = 12, 5
VARIANTS = list(itertools.product(op.ACTS, op.GATES))


def drawn(act: str, gate: str, seed: int) -> tuple[op.Variant, dict[str, np.ndarray], dict[str, float], Box]:
    rng = np.random.default_rng(seed)
    variant = op.Variant(act, gate)
    sizes = {"w1": (R, C), "b1": (R,), "w2": (C, C if act == "none" else R), "b2": (C,), "slope": (R,)}
    weights = {k: (rng.standard_normal(sizes[k]) * 2).astype(np.float32) for k in variant.inputs if k in sizes}
    attributes = {k: float(np.float32(rng.uniform(-0.7, 0.9))) for k in variant.attributes}
    if gate == "hardsigmoid":
        attributes["alpha"] = abs(attributes["alpha"])
    middle, half = rng.standard_normal(C), rng.uniform(0, 2, C)
    return variant, weights, attributes, Box(middle - half, middle + half)


def in_onnxruntime(variant: op.Variant, weights: dict[str, np.ndarray], attributes: dict[str, float], pooled: np.ndarray) -> np.ndarray:
    """The gates as a graph computes them: y of x, a map of one position, over x."""
    graph = helper.make_graph(
        [op.make_node(variant, ["x", *weights], "y", "se", attributes)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", C, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    op.declare(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": pooled[:, :, None, None]})[0].reshape(pooled.shape).astype(np.float64) / pooled


@pytest.mark.parametrize(("act", "gate"), VARIANTS)
def test_no_random_input_escapes_the_bounds(act: str, gate: str) -> None:
    for seed in range(6):
        variant, weights, attributes, box = drawn(act, gate, seed)
        bound = bounds.gate(variant, box, weights, attributes)
        rng = np.random.default_rng(seed)
        share = rng.uniform(0, 1, (400, C))
        share[:200] = share[:200].round()  # corners are where extremes are
        pooled = np.clip(box.low + share * (box.high - box.low), box.low, box.high).astype(np.float32)
        inside = ((pooled >= box.low) & (pooled <= box.high)).all(1)
        pooled = pooled[inside]
        pooled[np.abs(pooled) < 1e-3] = np.nan  # the division below would not tell
        gates = in_onnxruntime(variant, weights, attributes, pooled[np.isfinite(pooled).all(1)])
        slack = 4e-7 * np.abs(gates)  # of the product and the division
        assert len(gates) > 20
        assert (gates >= bound.low - slack).all()
        assert (gates <= bound.high + slack).all()


@pytest.mark.parametrize(("act", "gate"), VARIANTS)
def test_bounds_close_in_on_a_single_point(act: str, gate: str) -> None:
    """A bound that is always the whole range would be sound, too."""
    variant, weights, attributes, box = drawn(act, gate, 1)
    point = box.low.astype(np.float32)
    bound = bounds.gate(variant, Box(point.astype(np.float64), point.astype(np.float64)), weights, attributes)
    assert (bound.high - bound.low).max() < 1e-3


def test_a_gate_without_weights_is_a_point() -> None:
    weights = {"w1": np.ones((R, C)), "b1": np.zeros(R), "w2": np.zeros((C, R)), "b2": np.zeros(C)}
    box = Box(np.full(C, -np.inf), np.full(C, np.inf))
    bound = bounds.gate(op.Variant(), box, {k: v.astype(np.float32) for k, v in weights.items()}, {})
    assert bound.low.max() <= 0.5 <= bound.high.min()
    assert (bound.high - bound.low).max() < 1e-5
