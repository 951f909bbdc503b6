"""x · Sigmoid(x) becomes one node, and nothing else does."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, inliner, parser

from se_deploy.graph import silu
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import kernels, run
from tests.quant.test_place import measured

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,8,8] x) => '


def kinds(model: ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


def joined(text: str) -> ModelProto:
    model = parser.parse_model(HEAD + text)
    silu.joined(model)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("product", ["Mul(r, s)", "Mul(s, r)"])
def test_either_order_is_one_node(product: str) -> None:
    text = f"(float[N,3,8,8] y) {{ r = Relu(x)  s = Sigmoid(r)  y = {product} }}"
    model = joined(text)
    assert kinds(model) == {"Relu": 1, "QuickGelu": 1}
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32) * 4
    (want,) = run(parser.parse_model(HEAD + text), x)
    np.testing.assert_allclose(run(model, x)[0], want, rtol=1e-5, atol=1e-6)
    plain = inliner.inline_local_functions(model)
    assert kinds(plain).get("QuickGelu", 0) == 0
    np.testing.assert_allclose(run(plain, x)[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,3,8,8] y) { r = Relu(x)  s = Sigmoid(r)  y = Mul(x, s) }",
        "(float[N,3,8,8] y) { s = Sigmoid(x)  y = Mul(s, s) }",
        "(float[N,3,8,8] y, float[N,3,8,8] s) { s = Sigmoid(x)  y = Mul(x, s) }",
        "(float[N,3,8,8] y, float[N,3,8,8] z) { s = Sigmoid(x)  y = Mul(x, s)  z = Relu(s) }",
        "(float[N,3,8,8] y) { p = GlobalAveragePool(x)  s = Sigmoid(p)  y = Mul(x, s) }",
        "(float[N,3,8,8] y) { s = Sigmoid(x)  y = Add(x, s) }",
    ],
)
def test_what_is_no_silu_stays(text: str) -> None:
    model = parser.parse_model(HEAD + text)
    before = model.SerializeToString()
    silu.joined(model)
    assert model.SerializeToString() == before


def test_onnx_runtime_runs_it_as_one_kernel_between_integers(tmp_path: Path) -> None:
    """It takes its own kernel, not the function's body; and the tensor before it is dequantized once."""
    scales, x = measured(small.network(), small.images(64)), small.images(32, seed=5)
    ran, answers = [], []
    for joining in (False, True):
        model = small.network()
        place(model, scales, signed=False)
        if joining:
            silu.joined(model)
        onnx.checker.check_model(model, full_check=True)
        ran.append(Counter(kernels(model, tmp_path)))
        answers.append(run(model, x, optimised=True)[0])
    assert (ran[0]["QuickGelu"], ran[1]["QuickGelu"]) == (0, 1)
    assert (ran[0]["Sigmoid"], ran[1]["Sigmoid"]) == (1, 0)
    assert ran[1]["DequantizeLinear"] == ran[0]["DequantizeLinear"] - 1
    assert np.abs(answers[1] - answers[0]).max() < 0.02 * np.ptp(answers[0])
