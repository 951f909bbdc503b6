import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

from se_deploy.graph.names import name_by_module
from tests.graph.exported import exported


def text_of(model: onnx.ModelProto) -> bytes:
    """The serialised file without the weights' values, which hold any three bytes by chance."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for weight in bare.graph.initializer:
        weight.ClearField("raw_data")
    return bare.SerializeToString()


def names(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node]


def test_torchscript_names_become_module_paths() -> None:
    model = exported("legacy_seresnet18")
    name_by_module(model)
    assert names(model)[:9] == [
        "layer0.conv1/Conv",
        "layer0.relu1/Relu",
        "pool0/MaxPool",
        "layer1.0.conv1/Conv",
        "layer1.0.relu/Relu",
        "layer1.0.conv2/Conv",
        "layer1.0.relu_1/Relu",
        "layer1.0.se_module/ReduceMean",
        "layer1.0.se_module.fc1/Conv",
    ]
    assert names(model)[-3:] == ["global_pool.pool/GlobalAveragePool", "global_pool.flatten/Flatten", "last_linear/Gemm"]
    assert "layer2.0.downsample.0/Conv" in names(model)
    onnx.checker.check_model(model, full_check=True)


class Block(torch.nn.Module):
    """A convolution with its BatchNorm, an SE block, and a module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.act = torch.nn.SiLU()
        self.se = timm.layers.SEModule(4, rd_channels=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.se(self.act(self.bn(self.conv(x)))))


@pytest.fixture(scope="module")
def from_dynamo() -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.nn.Sequential(OrderedDict(stem=torch.nn.Sequential(Block()))).eval()
        return torch.onnx.export(network, (torch.randn(2, 3, 8, 8),), dynamo=True, opset_version=20, verbose=False).model_proto


def test_dynamo_scopes_become_module_paths(from_dynamo: onnx.ModelProto) -> None:
    before = text_of(from_dynamo)
    assert b"stack_trace" in before  # else the last lines test nothing
    assert str(Path(__file__)).encode() in before
    tensors = [list(node.output) for node in from_dynamo.graph.node]
    name_by_module(from_dynamo)
    assert names(from_dynamo) == [
        "stem.0.conv/Conv",
        "stem.0.act/Sigmoid",
        "stem.0.act/Mul",
        "stem.0.se/ReduceMean",
        "stem.0.se.fc1/Conv",
        "stem.0.se.act/Relu",
        "stem.0.se.fc2/Conv",
        "stem.0.se.gate/Sigmoid",
        "stem.0.se/Mul",
        "stem.0.act/Sigmoid_1",
        "stem.0.act/Mul_1",
    ]
    assert [list(node.output) for node in from_dynamo.graph.node] == tensors
    after = text_of(from_dynamo)
    for path in (Path.cwd(), Path.home(), Path(tempfile.gettempdir()), Path(timm.__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in after
    assert b".py" not in after
    again = from_dynamo.SerializeToString(deterministic=True)
    name_by_module(from_dynamo)
    assert from_dynamo.SerializeToString(deterministic=True) == again
    onnx.checker.check_model(from_dynamo, full_check=True)


def small(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A graph of the given nodes, in which `block.fc.weight` is a weight."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 1, 1]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "block.fc.weight")
    weight.doc_string = "from /home/someone/net.py"
    return helper.make_model(helper.make_graph(list(nodes), "g", values[:1], values[1:], [weight]))


def test_nodes_that_no_exporter_named() -> None:
    model = small(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Conv", ["a", "block.fc.weight"], ["b"], "Conv_12"),
        helper.make_node("Relu", ["b"], ["c"], "mine"),
        helper.make_node("Relu", ["c"], ["d"], "mine"),
        helper.make_node("Relu", ["d"], ["e"], "Relu"),
        helper.make_node("Relu", ["e"], ["f"], "/Relu_1"),
        helper.make_node("Conv", ["f", "block.fc.weight"], ["g"], "/trunk/trunk.1/trunk.1.0/fc/Conv"),
        helper.make_node("Conv", ["g", "block.fc.weight"], ["y"], "mine/too"),
    )
    name_by_module(model)
    assert names(model) == ["Relu", "block.fc/Conv", "mine", "mine_1", "Relu_1", "Relu_1_1", "trunk.1.0.fc/Conv", "mine/too"]


def test_a_module_called_twice_is_one_module() -> None:
    node = helper.make_node("Relu", ["x"], ["a"], "node_relu")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'act@1', 'relu']")
    root = helper.make_node("Relu", ["a"], ["y"], "node_add")
    root.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'add_3']")
    model = small(node, root)
    name_by_module(model)
    assert names(model) == ["act/Relu", "Relu"]


def test_no_path_is_left_anywhere() -> None:
    path = "/home/someone/net.py"
    same = helper.make_node("Identity", ["x"], ["z"], doc_string=path)
    inner = helper.make_graph([same], "then", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)], doc_string=path)
    branch = helper.make_node("If", ["yes"], ["y"], "/a/If", then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    constant.attribute[0].t.doc_string = path
    constant.attribute[0].doc_string = path
    model = small(constant, branch)
    model.doc_string = f"trained with {path}"
    model.metadata_props.add(key="where", value=r"C:\Users\someone\net.onnx")
    model.metadata_props.add(key="licence", value="CC BY 4.0, ratio 1/16, N/A")
    model.graph.doc_string = "A network / of mine"
    model.graph.input[0].doc_string = path
    model.graph.metadata_props.add(key="trace", value=f'File "{path}", line 3')
    body = [helper.make_node("Relu", ["v"], ["w"], doc_string=path)]
    model.functions.append(helper.make_function("mine", "F", ["v"], ["w"], body, [helper.make_opsetid("", 17)]))
    model.functions[0].doc_string = path
    name_by_module(model)
    text = model.SerializeToString()
    assert b"someone" not in text
    assert b".py" not in text
    assert {p.key: p.value for p in model.metadata_props} == {"licence": "CC BY 4.0, ratio 1/16, N/A"}
    assert model.graph.doc_string == "A network / of mine"
    assert names(model) == ["Constant", "a/If"]
