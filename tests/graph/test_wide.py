"""What overflows or loses its range in FP16 is found on images, stays in FP32, and nothing else does. FP16 is NumPy's own here."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper, parser

from se_deploy.graph import spans, strong, wide
from se_deploy.graph.half import raised, to_half
from se_deploy.graph.inline import inlined
from se_deploy.graph.precision import candidates
from se_deploy.graph.spans import Span
from se_deploy.graph.view import View
from tests.graph.halves import kept, numpy_half, scaled, seen
from tests.quant import small
from tests.quant.running import run, sqnr

IMAGES = small.images(6)
HALF = TensorProto.FLOAT16


def in_fp32(model: ModelProto) -> set[str]:
    """The nodes of an FP16 model that give FP32 though they might not."""
    view = View(model)
    might = {node.name for node in candidates(raised(scaled(1)))}
    return {node.name for node in view.nodes if node.name in might and view.elem_type(node.outputs[0]) != HALF}


def casts(model: ModelProto) -> int:
    return sum(node.op_type == "Cast" for node in model.graph.node)


@pytest.mark.parametrize("written_out", [False, True], ids=["fused", "plain"])
@pytest.mark.parametrize(
    ("factor", "found", "tensor"),
    [
        (1e6, ["up1", "down0.relu", "down0"], "reaches 8.81e+06, FP16 ends at 65504 (margin 4)"),
        (1.2e-8, ["up1", "down0.relu", "down0"], "keeps 1 dB of its signal in FP16 (at most 1.06e-07)"),
    ],
)
def test_a_range_that_half_has_not_is_found_and_no_more_than_needed_stays(
    factor: float, found: list[str], tensor: str, written_out: bool
) -> None:
    model = inlined(scaled(factor)) if written_out else scaled(factor)
    why = kept(model, IMAGES)
    assert list(why) == found
    assert why["up1"] == f"up1 {tensor}"
    (wanted,) = run(model, IMAGES)
    half = to_half(model, [], why)
    onnx.checker.check_model(half, full_check=True)
    strong.check(half)
    assert in_fp32(half) == {*found}
    assert casts(half) == casts(to_half(model)) + 2
    got = numpy_half(half, IMAGES)["y"]
    assert np.isfinite(got).all()
    assert sqnr(wanted, got) > 48


@pytest.mark.parametrize(("factor", "finite", "most"), [(1e6, False, None), (1.2e-8, True, 10)])
def test_without_the_search_the_same_networks_break(factor: float, finite: bool, most: float | None) -> None:
    (wanted,) = run(scaled(factor), IMAGES)
    got = numpy_half(to_half(scaled(factor)), IMAGES)["y"]
    assert bool(np.isfinite(got).all()) == finite
    assert most is None or sqnr(wanted, got) < most


@pytest.mark.parametrize("make", [lambda: scaled(1), lambda: scaled(1e3), lambda: scaled(1e-3), small.network])
def test_a_healthy_network_keeps_nothing_in_fp32(make: object) -> None:
    model = make()  # type: ignore[operator]
    assert kept(model, IMAGES) == {}
    assert to_half(model, [], kept(model, IMAGES)) == to_half(model)
    view = View(to_half(model))
    kinds = {node.name: view.elem_type(node.outputs[0]) for node in view.nodes if node.op != "Cast"}
    assert {name for name, kind in kinds.items() if kind != HALF} == {"pool", "flatten"}
    assert len(kinds) == len(model.graph.node)


def test_weights_that_half_cannot_hold_are_found_without_images() -> None:
    assert {one.name: one.reason for one in wide.find(raised(scaled(1e-11)), {})} == {
        "up0": "up0.w is 1.81e-06 at most, FP16 is exact down to 6.1e-05",
        "up1": "up1.w is 2.42e-06 at most, FP16 is exact down to 6.1e-05",
        "down0": "down0.w reaches 2.02e+05, FP16 ends at 65504",
        "down1": "down1.w reaches 2.05e+05, FP16 ends at 65504",
    }


def test_a_residual_chain_that_grows_beyond_half_is_fp32_from_there_on() -> None:
    """Each link doubles the sum; FP16 holds 2^13 x with the margin, and the last Mul brings it back."""
    links = " ".join(f"r{i} = Relu(s{i - 1}) [add{i}] s{i} = Add(s{i - 1}, r{i})" for i in range(1, 20))
    text = f"g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) {{ s0 = Relu(x) {links} [last] y = Mul(s19, small) }}"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2.0**-13), "small"))
    x = np.abs(small.images(2)[:, :2, :4, :4]) + 1
    x = (x / x.max()).astype(np.float32)
    why = kept(model, x)
    assert [name for name in why if name.startswith("add")] == [f"add{i}" for i in range(14, 20)]
    assert wide.LARGEST / wide.MARGIN == 16376
    (wanted,) = run(model, x)
    np.testing.assert_allclose(numpy_half(to_half(model, [], why), x)["y"], wanted, rtol=2e-3)
    assert np.isinf(numpy_half(to_half(model), x)["y"]).any()


CONV = "g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y) { a = Relu(x) [conv] b = Conv(a, w) y = Relu(b) }"


def conv(weight: np.ndarray, body: str = CONV) -> ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {body}')
    model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), "w"))
    return model


def test_sums_that_overflow_on_their_way_keep_a_layer_in_fp32() -> None:
    """6 x 1.6e4 - 6 x 1.6e4 is 0, and past 65504 on the way where the accumulator is FP16."""
    x = np.full((1, 2, 4, 4), 1.6e4, np.float32)

    def layer(large: float) -> ModelProto:
        return conv(np.array([[[[large]], [[-large]]], [[[0.1]], [[0.1]]]]))

    assert kept(layer(2.0), x) == {}
    assert kept(layer(6.0), x) == {"conv": "its sums may reach 1.92e+05 on their way, FP16 ends at 65504"}


def test_small_weights_count_as_their_channels_are_loud() -> None:
    """1e-6 loses 4 % in FP16; where it meets values of 1e4 and the others meet 1e-4, that is what the layer gives."""
    weight = np.array([[[[1e-6]], [[1e-3]]]] * 2)
    x = np.ones((1, 2, 4, 4), np.float32)
    assert kept(conv(weight), x) == {}
    loud = x * np.array([1e4, 1e-4], np.float32).reshape(1, 2, 1, 1)
    (reason,) = kept(conv(weight), loud).values()
    assert reason.startswith("w keeps ")
    assert reason.endswith(" dB of its products in FP16")


@pytest.mark.parametrize(("groups", "depthwise"), [(1, False), (2, True)])
def test_a_quiet_channel_counts_as_its_readers_weigh_it(groups: int, depthwise: bool) -> None:
    body = CONV.replace("Conv(a, w)", f"Conv<group = {groups}>(a, w)")
    x = np.full((1, 2, 4, 4), 1.0, np.float32) * np.array([1, 1.03e-7], np.float32).reshape(1, 2, 1, 1)
    even, steep = np.ones(2), np.array([1e-3, 3e4])
    for gains, bad in ((even, False), (steep, True)):
        weight = gains.reshape(2, 1, 1, 1) if depthwise else np.broadcast_to(gains.reshape(1, 2, 1, 1), (2, 2, 1, 1))
        assert ("a keeps" in kept(conv(weight, body), x).get("conv", "")) == bad


def test_what_a_relu_lets_through_was_lost_before_it() -> None:
    """The convolution's output is loud where it is negative; what is left after the Relu is 1e-8."""
    body = "g (float[N, 1, 4, 4] x) => (float[N, 1, 4, 4] y) { a = Relu(x) [conv] b = Conv(x, w) [relu] c = Relu(b) [back] d = Conv(c, v) y = Add(d, a) }"
    model = conv(np.full((1, 1, 1, 1), 1.0), body)
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 1, 1, 1), 3e4, np.float32), "v"))
    x = np.where(np.arange(16).reshape(1, 1, 4, 4) % 2, -5.0, 1.3e-8).astype(np.float32)
    assert {"conv", "relu", "back"} <= set(kept(model, x))


def test_dead_and_constant_tensors_are_healthy() -> None:
    assert kept(conv(np.ones((2, 2, 1, 1))), np.full((1, 2, 4, 4), -1.0, np.float32)) == {}
    assert kept(conv(np.ones((2, 2, 1, 1))), np.full((1, 2, 4, 4), 1e-33, np.float32)) == {}
    assert set(kept(conv(np.ones((2, 2, 1, 1))), np.full((1, 2, 4, 4), 1e-25, np.float32))) >= {"conv"}


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_spans_are_what_numpy_says(opset: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 4, 5, 6)) * np.array([1e3, 1, 1e-4, 1e-6]).reshape(1, 4, 1, 1)).astype(np.float32)
    text = "g (float[N, 4, 5, 6] x) => (float[N, 4, 5, 6] y) { a = Neg(x) y = Neg(a) }"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    span = seen(model, x)["a"]
    lost = x.astype(np.float64) - x.astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(span.peak, np.abs(x).max(axis=(0, 2, 3)))
    np.testing.assert_allclose(span.energy, np.square(x.astype(np.float64)).mean(axis=(2, 3)).sum(0), rtol=1e-5)
    np.testing.assert_allclose(span.error, np.square(lost).mean(axis=(2, 3)).sum(0), rtol=1e-5)


def test_shards_merge_to_what_one_run_sees() -> None:
    whole, parts = seen(scaled(1), IMAGES), [seen(scaled(1), IMAGES[i::2]) for i in range(2)]
    for name, span in whole.items():
        merged = parts[0][name].merged(parts[1][name])
        np.testing.assert_array_equal(merged.peak, span.peak)
        np.testing.assert_allclose((merged.energy, merged.error), (span.energy, span.error), rtol=1e-12)


def test_images_of_differing_sizes_whose_second_axis_differs() -> None:
    """Channels last: the second axis is the height, which no weight belongs to."""
    text = "g (float[N, 2, H, W] x) => (float[N, H, W, 2] y) { a = Transpose<perm = [0, 2, 3, 1]>(x) y = Neg(a) }"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    images = [np.full((1, 2, side, 3), 1.5 * side, np.float32) for side in (4, 5, 4)]
    spans = [seen(model, image)["a"] for image in images]
    assert [span.peak.size for span in spans] == [4, 5, 4]
    merged = spans[0].merged(spans[1]).merged(spans[2])
    assert (merged.peak.tolist(), merged.energy.tolist()) == ([7.5], [36 + 56.25 + 36])
    assert spans[0].merged(spans[1].merged(spans[2])).energy == merged.energy


def test_a_block_on_loud_maps_is_fp32_itself() -> None:
    model = small.network(opset=20)
    for name in ("conv0.weight", "conv0.bias"):
        small.replace(model, name, small.weight(model, name) * np.float32(3e4))
    why = kept(model, IMAGES)
    assert {"conv0", "relu0", "dw", "se"} <= set(why)
    half = to_half(model, [], why)
    strong.check(half)
    view = View(half)
    (block,) = [node for node in view.nodes if node.name == "se"]
    assert {view.elem_type(name) for name in (*block.inputs, *block.outputs)} == {TensorProto.FLOAT}
    got, (wanted,) = numpy_half(half, IMAGES)["y"], run(model, IMAGES)
    assert np.isfinite(got).all()
    assert sqnr(wanted, got) > 48


def test_what_is_watched_is_small_and_weights_are_not_changed() -> None:
    view = raised(scaled(1))
    watching = spans.watching(view, spans.tensors(view, candidates(view)))
    assert len(watching.graph.output) == 4 * 13
    assert [t for t in watching.graph.initializer if not t.name.startswith("se_deploy/span/")] == list(view.model.graph.initializer)


def test_a_values_bound_alone() -> None:
    ends = {
        0.0: None,
        1e-31: None,
        1e-7: "is 1e-07 at most",
        5e-6: None,
        1.0: None,
        16376: None,
        16377: "reaches 1.64e+04",
        np.inf: "reaches inf",
    }
    for peak, said in ends.items():
        got = wide.by_peak(peak)
        assert (got is None) if said is None else (got or "").startswith(said)


def test_nan_in_fp32_is_not_taken_for_healthy() -> None:
    span = Span(np.array([np.nan]), np.array([np.nan]), np.array([np.nan]))
    view = raised(conv(np.ones((2, 2, 1, 1))))
    assert {one.name for one in wide.find(view, {"a": span})} == {"a", "conv"}
