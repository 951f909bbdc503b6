"""Graphs in a later opset."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from se_deploy import op
from se_deploy.errors import GraphError
from se_deploy.graph import opset

#: y = 2 x + 1 by a function of the file's own, then a SqueezeExcite node whose body is another one.
TEXT = """<ir_version: 8, opset_import: ["": 14, "mine": 1, "se_deploy": 1], metadata_props: ["kept": "yes"]>
main (float[N,2,4,4] x) => (float[N,2,4,4] y) <float two = {2}, float[1,2] w1 = {0.5,-1}, float[1] b1 = {0}, float[2,1] w2 = {1,2}, float[2] b2 = {0,0}>
{ d = mine.Doubled(x)  y = se_deploy.SE(d, w1, b1, w2, b2) }
<domain: "mine", opset_import: ["": 14]>
Doubled (a) => (b) { two = Constant<value_float = 2.0>()  b = Mul(a, two) }
"""


def model() -> onnx.ModelProto:
    variant = op.Variant("relu", "sigmoid", "none", "none")
    made = onnx.parser.parse_model(TEXT.replace("se_deploy.SE", f"{op.DOMAIN}.{variant.name}").replace('"se_deploy"', f'"{op.DOMAIN}"'))
    op.declare(made)
    onnx.checker.check_model(made, full_check=True)
    return made


def answer(made: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32)
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_a_raised_file_keeps_its_blocks_its_metadata_and_its_answers() -> None:
    before = model()
    after = opset.raised(before, 19)
    onnx.checker.check_model(after, full_check=True)
    assert op.opset_of(after) == 19
    assert [f.domain for f in after.functions] == [op.DOMAIN]  # the other one is written out
    assert [(p.key, p.value) for p in after.metadata_props] == [("kept", "yes")]
    np.testing.assert_array_equal(answer(after), answer(before))


def test_an_opset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(GraphError, match="ONNX cannot convert opset 14 to 999"):
        opset.raised(model(), 999)
