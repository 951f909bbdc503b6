"""A graph's input and outputs as manifests have them."""

import onnx
import pytest

from se_deploy.errors import GraphError
from se_deploy.graph import ports

TEXT = """<ir_version: 10, opset_import: ["" : 20]>
g (float[batch,3,16,height] x) => (float[batch,a,b,width] y, float z)
<float[batch,3,8,8] inner, float[2] w = {1, 2}> { inner = Relu(x)  y = Relu(inner)  z = ReduceMean(inner) }"""


def model(text: str = TEXT) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def test_specs() -> None:
    graph = model()
    spec = ports.input_spec(graph, (16, 9), (16, 16), (16, 33))
    assert (spec.name, spec.dtype, spec.shape) == ("x", "float32", ("batch", 3, 16, "height"))
    assert (spec.min, spec.opt, spec.max) == ((1, 3, 16, 9), (8, 3, 16, 16), (32, 3, 16, 33))
    first, second = ports.output_specs(graph)
    assert (first.name, first.shape) == ("y", ("batch", "a", "b", "width"))
    assert second.shape == ()


def test_a_fixed_batch_has_one_size() -> None:
    spec = ports.input_spec(model(TEXT.replace("batch,3,16,height", "4,3,16,16")), (16, 16), (16, 16), (16, 16))
    assert spec.min == spec.opt == spec.max == (4, 3, 16, 16)


def test_settle_gives_sizes_to_axes_that_never_varied() -> None:
    graph = model()
    ports.settle(graph, ("batch", 3, 16, "height"), {"y": [(1, 3, 16, 8), (2, 3, 16, 9)], "z": [(), ()]})
    assert ports.output_specs(graph)[0].shape == ("batch", 3, 16, "width")
    assert [value.name for value in graph.graph.value_info] == ["inner"]
    onnx.checker.check_model(graph)


def test_settle_with_a_new_input_shape_forgets_inner_shapes() -> None:
    graph = model()
    ports.settle(graph, (2, 3, 16, 20), {"y": [(2, 3, 16, 20)], "z": [()]})
    assert ports.declared(ports.image_input(graph)) == (2, 3, 16, 20)
    assert ports.output_specs(graph)[0].shape == (2, 3, 16, 20)
    assert not graph.graph.value_info
    ports.settle(graph, (2, 3, 16, 20))
    assert not graph.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        ("float[n,3,8,8] x, float[n] s", r"has 2 inputs \(x, s\)"),
        ("float[n,8] x", "not images"),
        ("float[n,c,8,8] x", "with a known C"),
    ],
)
def test_graphs_that_do_not_take_images(declaration: str, reason: str) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 20]> g ({declaration}) => (y) {{ y = Relu(x) }}'
    with pytest.raises(GraphError, match=reason):
        ports.image_input(model(text))


def test_a_size_of_minus_one_is_an_open_one() -> None:
    graph = model()
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert ports.declared(graph.graph.input[0]) == ("?", 3, 16, "height")
