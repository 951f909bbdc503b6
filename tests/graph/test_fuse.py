"""What fusing does to a model beside its blocks: names, choice, weights, inputs, subgraphs, functions."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import helper, numpy_helper

from se_deploy.errors import GraphError
from se_deploy.graph.find import find, match_report
from se_deploy.graph.fuse import fuse
from se_deploy.graph.unfuse import unfuse
from tests.graph.spelled import FCS, assert_equal, check, model, ops

RELU = "relu_sigmoid_skip_none_then_none"
SE = f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)"


def two_blocks() -> onnx.ModelProto:
    second = "h2 = Conv(q, W1, b1)  a2 = Relu(h2)  v2_ = Conv(a2, W2, b2)  g3 = Sigmoid(v2_)"
    plain = model(f"p = GlobalAveragePool(x)  {FCS}  z = Mul(x, g)  q = GlobalAveragePool(z)  {second}  y = Mul(z, g3)")
    for index, node in enumerate(plain.graph.node):
        node.name = f"layer{index // 6}.0.se/{node.op_type}_{index}"
    return plain


def test_only_the_blocks_that_are_named() -> None:
    result = fuse(two_blocks(), only=["layer1.0.se"])
    assert result.fused == ("layer1.0.se",)
    assert ops(result.model) == ["GlobalAveragePool", "Conv", "Relu", "Conv", "Sigmoid", "Mul", RELU]
    assert_equal(two_blocks(), result.model)
    assert fuse(result.model).fused == ("layer0.0.se",)


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(GraphError, match="no SE block is named layer9"):
        fuse(two_blocks(), only=["layer9"])


def test_shared_weights_may_be_shared() -> None:
    result = check(two_blocks(), [RELU, RELU])
    assert [n.name for n in result.model.graph.node] == ["layer0.0.se", "layer1.0.se"]
    assert len({i.name for i in result.model.graph.initializer}) == 8


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/layer1/layer1.0/se/ReduceMean", "/layer1/layer1.0/se/fc1/Conv", "/layer1/layer1.0/se/Mul"], "layer1.0.se"),
        (["layer1.0.se/ReduceMean", "layer1.0.se.fc1/Conv", "layer1.0.se/Mul"], "layer1.0.se"),
        (["layer1.0.avg/ReduceMean", "layer1.0.fc1/Conv", "layer1.0/Mul"], "layer1.0"),
        (["layer10.fc/ReduceMean", "layer1.fc/Conv", "layer1/Mul"], "last"),
        (["node_1", "node_2", "node_3"], "last"),
    ],
)
def test_name_of_a_block(names: list[str], expected: str) -> None:
    plain = model(SE)
    first, fc, last = names
    for node, name in zip(plain.graph.node, [first, fc, fc, fc, fc, last if expected != "last" else "last"], strict=True):
        node.name = name
    assert [m.name for m in find(plain).matches] == [expected]


def test_name_from_dynamos_scopes() -> None:
    plain = model(SE)
    for node in plain.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.0', 'layer1.0.se', 'mul_54']")
    assert [m.name for m in find(plain).matches] == ["layer1.0.se"]


def test_blocks_of_one_name_are_told_apart() -> None:
    plain = two_blocks()
    for node in plain.graph.node:
        node.name = "features.se/" + node.op_type
    assert [m.name for m in find(plain).matches] == ["features.se", "features.se_2"]


def test_metadata_of_other_nodes_stays() -> None:
    plain = model(f"z = Relu(x)  p = GlobalAveragePool(z)  {FCS}  y = Mul(z, g)")
    plain.graph.node[0].metadata_props.add(key="k", value="v")
    plain.metadata_props.add(key="author", value="me")
    fused = fuse(plain).model
    assert [(p.key, p.value) for p in fused.graph.node[0].metadata_props] == [("k", "v")]
    assert [(p.key, p.value) for p in fused.metadata_props] == [("author", "me")]


def test_weights_that_are_also_declared_as_inputs() -> None:
    """As files before IR version 4 have it; what the block took away is no input any more."""
    plain = model(SE)
    plain.graph.input.extend(helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in plain.graph.initializer)
    plain.ir_version = 3
    fused = fuse(plain).model
    assert [i.name for i in fused.graph.input] == ["x"]
    assert fused.ir_version == 8
    assert_equal(plain, fused)


def test_name_of_a_new_weight_that_is_taken() -> None:
    plain = model(f"w9 = Relu(x)  p = GlobalAveragePool(w9)  {FCS}  s = Mul(w9, g)  y = Relu(s)")
    for node in plain.graph.node:
        node.name = f"se/{node.output[0]}"
        node.input[:] = ["se.w1" if i == "w9" else i for i in node.input]
        node.output[:] = ["se.w1" if o == "w9" else o for o in node.output]
    check(plain, ["Relu", "relu_sigmoid_skip_none_then_relu"])


def test_subgraph_that_reads_a_vector_of_the_block_is_another_reader() -> None:
    plain = model(f"p = GlobalAveragePool(x)  {FCS}  y = Mul(x, g)", y="float[N, 8, 5, 7] y, float[N, 4, 1, 1] k")
    branch = helper.make_graph([helper.make_node("Identity", ["a"], ["inner"])], "b", [], [helper.make_tensor_value_info("inner", 1, None)])
    plain.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    plain.graph.node.append(helper.make_node("If", ["yes"], ["k"], "if", then_branch=branch, else_branch=branch))
    found = find(plain)
    assert [(r.id, r.node) for r in found.rejections] == [("hidden-shared", "Mul_5")]
    assert_equal(plain, fuse(plain).model)


def test_weights_that_only_a_subgraph_reads_stay() -> None:
    plain = model(f"p = GlobalAveragePool(x)  {FCS}  s = Mul(x, g)", y="float[N, 8, 5, 7] y")
    branch = helper.make_graph(
        [helper.make_node("Add", ["s", "only_here"], ["inner"])], "b", [], [helper.make_tensor_value_info("inner", 1, None)]
    )
    plain.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    plain.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "only_here"))
    plain.graph.node.append(helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch, else_branch=branch))
    fused = fuse(plain).model
    assert ops(fused) == [RELU, "If"]
    assert_equal(plain, fused)


FUNCTION = """
<ir_version: 8, opset_import: ["" : 17, "pkg" : 1]>
g (float[N, 8, 5, 7] x, float[4, 8, 1, 1] W1, float[8, 4, 1, 1] W2) => (float[N, 8, 5, 7] y) { y = pkg.SE(x, W1, W2) }
<domain: "pkg", opset_import: ["" : 17]>
SE (x, w, v) => (y) { p = GlobalAveragePool(x)  h = Conv(p, w)  a = Relu(h)  t = Conv(a, v)  g = Sigmoid(t)  y = Mul(x, g) }
"""


def test_blocks_inside_functions_are_found() -> None:
    plain = onnx.parser.parse_model(FUNCTION)
    rng = np.random.default_rng(0)
    for value in list(plain.graph.input)[1:]:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        plain.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), value.name))
        plain.graph.input.remove(value)
    result = check(plain, [RELU])
    assert [i.name for i in result.model.graph.input] == ["x"]


def test_model_without_blocks_is_as_it_was() -> None:
    plain = model("y = Relu(x)")
    assert fuse(plain).model.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)
    assert unfuse(plain).SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)


def test_unfused_graph_is_found_again_and_its_nodes_are_named_by_the_block() -> None:
    plain = unfuse(fuse(two_blocks()).model)
    assert {n.name.split("/")[0] for n in plain.graph.node} == {"layer0.0.se", "layer1.0.se"}
    assert len({n.name for n in plain.graph.node}) == len(plain.graph.node)
    again = fuse(plain)
    assert again.fused == ("layer0.0.se", "layer1.0.se")
    assert_equal(two_blocks(), again.model)


def test_report_of_a_block() -> None:
    body = f"p = GlobalAveragePool(x)  {FCS.replace('Sigmoid(v)', 'HardSigmoid(v)')}  s = Mul(x, g)  q = Add(s, x)  y = Relu(q)"
    plain = model(body)
    expected = {"pooled": "x", "channels": 8, "reduced": 4, "activation": "relu", "gate": "hardsigmoid", "alpha": float(np.float32(0.2)),
                "beta": 0.5, "skip": "self", "epilogue": "relu", "params": 2 * 8 * 4 + 4 + 8, "macs": 7}  # fmt: skip
    for graph in (plain, fuse(plain).model):
        report = match_report(find(graph).matches[0], macs=7).model_dump()
        assert report.pop("name") == "Mul_5"
        assert report == expected


def test_graph_with_a_cycle() -> None:
    plain = model(SE)
    plain.graph.node[0].input[0] = "y"
    with pytest.raises(GraphError, match="cycle through node 'GlobalAveragePool_0'"):
        find(plain)


def test_node_that_reads_what_nothing_makes() -> None:
    plain = model(SE)
    plain.graph.node[0].input[0] = "nowhere"
    with pytest.raises(GraphError, match="node 'GlobalAveragePool_0' reads 'nowhere', which nothing makes"):
        find(plain)
