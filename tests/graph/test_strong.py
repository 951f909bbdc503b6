"""TensorRT's rules, each with a file that breaks it alone; the message names the rule and the node."""

from collections.abc import Callable

import pytest
from onnx import ModelProto, TensorProto, helper, parser

from se_deploy.artifacts import TensorScale
from se_deploy.errors import GraphError
from se_deploy.graph import strong
from se_deploy.graph.half import to_half
from se_deploy.quant import sites
from se_deploy.quant.place import place
from tests.quant import small


def quantized(signed: bool = True, blocks: bool = True) -> ModelProto:
    model = small.network()
    scale = TensorScale(min=-1, max=1, scale=1 / 127)
    place(model, dict.fromkeys(sites.find(model, outputs=True, blocks=True).tensors, scale), signed=signed, integer_blocks=blocks)
    return model


@pytest.mark.parametrize(
    "make",
    [small.network, lambda: to_half(small.network()), quantized, lambda: quantized(blocks=False)],
    ids=["fp32", "fp16", "int8", "int8 with blocks in float"],
)
def test_what_we_write_keeps_every_rule(make: Callable[[], ModelProto]) -> None:
    strong.check(make())


def broken(model: ModelProto) -> str:
    with pytest.raises(GraphError) as caught:
        strong.check(model)
    return str(caught.value)


def pair(zero: str = "int8 z = {0}", scale: str = "float s = {0.1}", body: str = "") -> ModelProto:
    body = body or "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Relu(d)"
    return parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 19]> g (float[N,4,8,8] x) => (float[N,4,8,8] y) <{zero}, {scale}> {{ {body} }}'
    )


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (pair("uint8 z = {0}"), "TensorRT's rule int8: q (QuantizeLinear): q is uint8, not int8 (2 in all); quantize with `se-deploy build --int8`"),
        (pair("int8 z = {3}"), "TensorRT's rule zero-point-0: q (QuantizeLinear): its zero point is 3 (2 in all)"),
        (
            pair("int8[4] z = {0,0,0,0}", "float[4] s = {1,1,1,1}"),
            "TensorRT's rule per-channel-weights: q (QuantizeLinear): x is no weight and has 4 scales (2 in all)",
        ),
        (
            pair(body="h = Cast<to=10>(x) q = QuantizeLinear(h, s, z) d = DequantizeLinear(q, s, z) y = Relu(d)"),
            "TensorRT's rule scale-type: q (QuantizeLinear): h is float16, its scale is float; ",
        ),
        (
            pair(body="q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Add(d, x)"),
            "TensorRT's rule residual-both: y (Add): x is not quantized, the other input is; ",
        ),
        (
            pair(body="h = Cast<to=10>(x) p = GlobalAveragePool(h) m = Mul(h, p) y = Cast<to=1>(m)"),
            "TensorRT's rule fp32-reduce: p (GlobalAveragePool): sums h in FP16, which ends at 65504; ",
        ),
        (
            pair(body="h = Cast<to=10>(x) p = ReduceMean<keepdims=1>(h) m = Mul(h, p) y = Cast<to=1>(m)"),
            "TensorRT's rule fp32-reduce: p (ReduceMean): sums h in FP16",
        ),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_broken_rule_is_named(model: ModelProto, said: str) -> None:
    assert broken(model).startswith(said)


def test_the_form_for_onnx_runtime_is_refused() -> None:
    """ONNX Runtime's unsigned activations and int32 biases are no types of TensorRT's."""
    assert broken(quantized(signed=False, blocks=False)).startswith("TensorRT's rule int8: x/QuantizeLinear (QuantizeLinear): ")


def test_a_node_of_ours_without_a_creator() -> None:
    model = small.network()
    next(n for n in model.graph.node if n.name == "se2").op_type = "SqueezeExcite_later"
    next(f for f in model.functions if f.name == small.SECOND.name).name = "SqueezeExcite_later"
    assert broken(model).startswith("TensorRT's rule creator: se2 (SqueezeExcite_later): the plugin has no SqueezeExcite_later; ")


def test_per_channel_weights_pass() -> None:
    model = pair(
        zero="int8[4] z = {0,0,0,0}, int8[4,4,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}",
        scale="float[4] s = {1,1,1,1}",
        body="d = DequantizeLinear<axis=0>(w, s, z) y = Conv(x, d)",
    )
    strong.check(model)


def test_a_zero_point_that_is_not_constant() -> None:
    model = pair()
    model.graph.input.append(helper.make_tensor_value_info("zz", TensorProto.INT8, []))
    model.graph.node[0].input[2] = "zz"
    assert broken(model).startswith("TensorRT's rule zero-point-0: q (QuantizeLinear): its zero point zz is not constant; ")
