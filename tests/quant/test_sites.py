"""Exactly the pairs that are wanted, and no other."""

import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from se_deploy.quant import sites
from tests.quant import small


def found(model: ModelProto, outputs: bool, blocks: bool = False) -> dict[str, list[tuple[str, int]]]:
    uses = sites.find(model, outputs=outputs, blocks=blocks).tensors
    return {name: [(model.graph.node[i].name, position) for i, position in where] for name, where in uses.items()}


@pytest.mark.parametrize(("outputs", "want"), [(False, small.LEAN), (True, small.BOTH_SIDES)])
def test_sites_of_the_small_network(outputs: bool, want: dict) -> None:
    assert found(small.network(), outputs) == want


def test_sites_around_se_blocks() -> None:
    assert found(small.network(), outputs=False, blocks=True) == small.BLOCKS


def test_a_block_that_gives_the_networks_output_stays_in_float() -> None:
    model = small.network()
    model.graph.output.append(helper.make_tensor_value_info("se2", TensorProto.FLOAT, ["N", small.C, 16, 16]))
    assert not {"conv2_out", "se2"} & set(found(model, outputs=False, blocks=True))


def test_layers_with_their_channel_axes() -> None:
    layers = sites.find(small.network()).layers
    assert [(layer.source, layer.weight, layer.axis, layer.bias) for layer in layers] == [
        (source, f"{name}.weight", 0, f"{name}.bias")
        for source, name in [("x", "conv0"), ("relu0", "dw"), ("silu", "pw"), ("se", "conv1"), ("sum", "conv2"), ("flat", "fc")]
    ]


def test_finding_changes_nothing() -> None:
    model = small.network()
    before = model.SerializeToString()
    sites.find(model, outputs=True)
    assert model.SerializeToString() == before


def text(body: str, initializers: str = "") -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,3] y) <{initializers}> {{ {body} }}')


W43 = "float[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}"
W34 = "float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}"


@pytest.mark.parametrize(
    ("body", "weights", "axis"),
    [
        ("y = MatMul(x, w)", W43, 1),
        ("y = Gemm(x, w)", W43, 1),
        ("y = Gemm<transB=1>(x, w)", W34, 0),
        ("w = Constant<value = float[4,3] {1,2,3,4,5,6,7,8,9,10,11,12}>() y = MatMul(x, w)", "", 1),
    ],
)
def test_spellings_of_a_fully_connected_layer(body: str, weights: str, axis: int) -> None:
    layers = sites.find(text(body, weights)).layers
    assert [(layer.weight, layer.axis) for layer in layers] == [("w", axis)]


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = Gemm<alpha=2.0>(x, w)", W43),  # a factor that an integer kernel would not see
        ("t = Transpose(x) y = Gemm<transA=1>(t, w)", W43),
        ("t = Identity(w) y = MatMul(x, t)", W43),  # not a constant as far as this graph says
        ("y = MatMul(x, w)", "float16[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}"),
        ("t = MatMul(w, w2) y = Add(x, t)", f"{W34}, float[4,3] w2 = {{1,2,3,4,5,6,7,8,9,10,11,12}}"),
    ],
)
def test_what_is_no_layer(body: str, weights: str) -> None:
    assert sites.find(text(body, weights)).layers == []


def test_adding_a_constant_is_no_residual() -> None:
    model = text("t = MatMul(x, w) y = Add(t, b)", f"{W43}, float[3] b = {{1,2,3}}")
    assert list(sites.find(model, outputs=True).tensors) == ["x"]


def test_a_convolution_that_gives_the_networks_output_stays_float_behind() -> None:
    model = small.network()
    model.graph.output.append(helper.make_tensor_value_info("conv2_out", TensorProto.FLOAT, None))
    assert "conv2_out" not in sites.find(model, outputs=True).tensors


def test_a_relu_read_beside_its_convolution_is_not_folded() -> None:
    """conv0 feeds Relu and another node: the pair belongs on conv0's own output."""
    model = small.network()
    model.graph.node.append(helper.make_node("Neg", ["conv0_out"], ["other"], "neg"))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, None))
    uses = found(model, outputs=True)
    assert uses["conv0_out"] == [("relu0", 0), ("neg", 0)]
    assert uses["relu0"] == [("dw", 0)]


def test_constants_in_nodes_are_found() -> None:
    model = small.network()
    tensor = next(t for t in model.graph.initializer if t.name == "pw.weight")
    value = numpy_helper.from_array(numpy_helper.to_array(tensor))
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["pw.weight"], value=value))
    assert found(model, False) == small.LEAN
