"""Q/DQ nodes where they belong, weights to the bit, and answers that stay."""

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from se_deploy import op
from se_deploy.artifacts import TensorScale
from se_deploy.errors import QuantError
from se_deploy.quant import ranges, sites, weights
from se_deploy.quant.observe import Observer
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import kernels, run, sqnr


def measured(model: ModelProto, images: np.ndarray, blocks: bool = False) -> dict[str, TensorScale]:
    tensors = list(sites.find(model, outputs=True, blocks=blocks).tensors)
    values = run(model, images, *(name for name in tensors if name != "x"))[1:]
    scales = {}
    for name, value in zip(tensors, [images, *values], strict=True):
        observer = Observer()
        observer.update(value)
        scales[name] = ranges.choose(name, observer)[0]
    return scales


@functools.cache
def small_scales() -> dict[str, TensorScale]:
    return measured(small.network(), small.images(256))


def quantized(signed: bool, model: ModelProto | None = None) -> ModelProto:
    scales = small_scales() if model is None else measured(model, small.images(64))
    model = model or small.network()
    place(model, scales, signed=signed)
    onnx.checker.check_model(model, full_check=True)
    return model


def producers(model: ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


FORMS = pytest.mark.parametrize(("signed", "want"), [(True, small.LEAN), (False, small.BOTH_SIDES)], ids=["signed", "unsigned"])


@FORMS
def test_pairs_are_exactly_the_sites(signed: bool, want: dict) -> None:
    model = quantized(signed)
    made = producers(model)
    pairs = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in made:
            q = made[node.input[0]]
            assert (q.op_type, list(q.input[1:])) == ("QuantizeLinear", list(node.input[1:]))
            pairs[q.input[0]] = [(n.name, i) for n in model.graph.node for i, name in enumerate(n.input) if name == node.output[0]]
    assert pairs == want
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == len(want)


@FORMS
def test_se_nodes_are_untouched_but_for_what_they_read(signed: bool, want: dict) -> None:
    before, after = small.network(), quantized(signed)
    for name in ("se", "se2"):
        old, new = (next(n for n in m.graph.node if n.name == name) for m in (before, after))
        back = [i.removesuffix("/dequantized") for i in new.input]
        assert (back, new.op_type, list(new.attribute)) == (list(old.input), old.op_type, list(old.attribute))
        if signed:
            assert list(new.input) == list(old.input)
        for weight in old.input[1:5]:
            np.testing.assert_array_equal(small.weight(after, weight), small.weight(before, weight))
    assert after.functions == before.functions
    assert sum(op.variant_of(node) is not None for node in after.graph.node) == 2


def test_signed_zero_points_are_int8_zeros() -> None:
    model = quantized(True)
    zeros = [small.weight(model, node.input[2]) for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(zeros) == 2 * len(small.LEAN) + 6
    for zero in zeros:
        assert zero.dtype == np.int8
        assert not zero.any()


@FORMS
def test_weights_are_per_channel_int8_to_the_bit(signed: bool, want: dict) -> None:
    before, after = small.network(), quantized(signed)
    for layer in ("conv0", "dw", "pw", "conv1", "conv2", "fc"):
        w = small.weight(before, f"{layer}.weight")
        scale = (np.abs(w).reshape(len(w), -1).max(axis=1) / np.float32(127)).astype(np.float32)
        np.testing.assert_array_equal(small.weight(after, f"{layer}.weight/scale"), scale)
        steps = np.rint(w.astype(np.float64) / scale.reshape(-1, *[1] * (w.ndim - 1)))
        q = small.weight(after, f"{layer}.weight/quantized")
        assert q.dtype == np.int8
        np.testing.assert_array_equal(q, steps)
        (reader,) = (n for n in after.graph.node if f"{layer}.weight/quantized" in n.input)
        assert (reader.op_type, helper.get_attribute_value(reader.attribute[0])) == ("DequantizeLinear", 0)
        assert f"{layer}.weight" not in {t.name for t in after.graph.initializer}


def test_biases_stay_fp32_in_the_signed_form() -> None:
    before, after = small.network(), quantized(True)
    for layer in ("conv0", "dw", "pw", "conv1", "conv2", "fc"):
        node = next(n for n in after.graph.node if n.name == layer)
        assert node.input[2] == f"{layer}.bias"
        np.testing.assert_array_equal(small.weight(after, node.input[2]), small.weight(before, node.input[2]))


def test_biases_are_int32_in_the_unsigned_form() -> None:
    before, after = small.network(), quantized(False)
    for layer, out, source in (("conv0", "conv0_out", "x"), ("dw", "dw_out", "relu0"), ("fc", "y", "flat")):
        q, scale = (small.weight(after, f"{out}/bias/{part}") for part in ("quantized", "scale"))
        assert q.dtype == np.int32
        x_scale = small.weight(after, f"{source}/scale")
        np.testing.assert_array_equal(scale, small.weight(after, f"{layer}.weight/scale") * x_scale)
        bias = small.weight(before, f"{layer}.bias")
        assert np.abs(q * scale.astype(np.float64) - bias).max() <= scale.max() / 2


def test_last_layer_equals_integer_arithmetic_by_hand() -> None:
    before, model = small.network(), quantized(True)
    y, flat = run(model, small.images(4, seed=9), "flat")
    scale = small.weight(model, "flat/scale")
    w_scale = small.weight(model, "fc.weight/scale")
    x_int = np.clip(np.rint(flat / scale), -128, 127).astype(np.int32)
    sums = x_int @ small.weight(model, "fc.weight/quantized").astype(np.int32).T
    want = sums * (scale.astype(np.float64) * w_scale) + small.weight(before, "fc.bias")
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


@FORMS
@pytest.mark.parametrize("optimised", [False, True])
def test_answers_stay(signed: bool, want: dict, optimised: bool) -> None:
    held_out = small.images(64, seed=5)
    (reference,) = run(small.network(), held_out)
    (got,) = run(quantized(signed), held_out, optimised=optimised)
    assert sqnr(reference, got) > 26
    assert np.mean(reference.argmax(1) == got.argmax(1)) > 0.9


def test_onnx_runtime_computes_every_layer_of_the_unsigned_form_in_integers(tmp_path: Path) -> None:
    ran = kernels(quantized(False), tmp_path)
    assert ran.count("QLinearConv") == 5
    assert ran.count("QLinearAdd") == 1
    assert ran.count("QGemm") == 1
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm"} & set(ran) - {"FusedGemm"}  # those are the SE bodies'


def test_nodes_stay_in_topological_order() -> None:
    for signed in (True, False):
        model = quantized(signed)
        known = {i.name for i in model.graph.input} | {t.name for t in model.graph.initializer}
        for node in model.graph.node:
            assert set(node.input) <= known, node.name
            known |= set(node.output)


def test_a_shared_weight_is_written_once() -> None:
    model = small.network()
    next(n for n in model.graph.node if n.name == "conv2").input[1] = "pw.weight"
    place(model, measured(model, small.images(8)))
    readers = [n for n in model.graph.node if "pw.weight/dequantized" in n.input]
    assert [n.name for n in readers] == ["pw", "conv2"]
    assert sum("pw.weight/quantized" in n.input for n in model.graph.node) == 1


def test_a_shared_weight_whose_biases_need_other_scales_is_written_twice() -> None:
    model = small.network()
    next(n for n in model.graph.node if n.name == "conv2").input[1] = "pw.weight"
    tiny = small.weight(model, "pw.weight").copy()
    tiny[0] *= 1e-12
    small.replace(model, "pw.weight", tiny)
    scales = measured(model, small.images(8))
    place(model, scales, signed=False)
    onnx.checker.check_model(model, full_check=True)
    sources = [n.input[1] for n in model.graph.node if n.name in ("pw", "conv2")]
    assert len(set(sources)) == 2
    assert np.isfinite(run(model, small.images(2))[0]).all()


def test_weights_in_constant_nodes_are_quantized_and_the_nodes_go() -> None:
    model = small.network()
    tensor = next(t for t in model.graph.initializer if t.name == "pw.weight")
    values = numpy_helper.to_array(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["pw.weight"], value=numpy_helper.from_array(values)))
    model.graph.initializer.remove(tensor)
    place(model, measured(model, small.images(8)))
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(small.weight(model, "pw.weight/scale"), weights.channel_scales(values, 0))
    assert not any(node.op_type == "Constant" for node in model.graph.node)


@pytest.mark.parametrize("factor", [0.0, 1e-42, 1e-12])
@FORMS
def test_depthwise_channels_near_zero_do_not_collapse_the_network(factor: float, signed: bool, want: dict) -> None:
    model = small.network()
    w = small.weight(model, "dw.weight").copy()
    w[3:6] *= np.float32(factor)
    small.replace(model, "dw.weight", w)
    (reference,) = run(model, small.images(16, seed=5))
    for optimised in (False, True):
        (got,) = run(quantized(signed, ModelProto.FromString(model.SerializeToString())), small.images(16, seed=5), optimised=optimised)
        assert sqnr(reference, got) > 24


def test_dead_tensors_keep_the_network_finite() -> None:
    model = small.network()
    small.replace(model, "conv0.bias", np.full(small.C, -1e4, np.float32))  # relu0 is zero everywhere
    (reference,) = run(model, small.images(4))
    for signed in (True, False):
        (got,) = run(quantized(signed, ModelProto.FromString(model.SerializeToString())), small.images(4))
        np.testing.assert_allclose(got, reference, atol=0.05 * np.ptp(reference))


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_channels_of_a_weight_that_is_not_transposed_are_its_columns(kind: str) -> None:
    model = small.network()
    fc = model.graph.node[-1]
    w = small.weight(model, "fc.weight").T * np.float32([[0.01, 1] * 5])
    small.replace(model, "fc.weight", np.ascontiguousarray(w))
    fc.CopyFrom(helper.make_node(kind, list(fc.input)[: 3 if kind == "Gemm" else 2], ["y"], "fc"))
    (reference,) = run(model, small.images(16))
    for signed in (True, False):
        got = quantized(signed, ModelProto.FromString(model.SerializeToString()))
        np.testing.assert_array_equal(small.weight(got, "fc.weight/scale"), np.abs(w).max(axis=0) / np.float32(127))
        assert sqnr(reference[:, ::2], run(got, small.images(16))[0][:, ::2]) > 20


def refused(model: ModelProto, said: str, scales: dict[str, TensorScale] | None = None) -> None:
    before = model.SerializeToString()
    with pytest.raises(QuantError, match=said):
        place(model, scales if scales is not None else measured(small.network(), small.images(2)))
    assert model.SerializeToString() == before


def test_a_quantized_graph_is_refused() -> None:
    refused(quantized(True), "the graph is quantized already; build it without --int8")


def test_an_old_opset_is_refused() -> None:
    model = small.network()
    model.opset_import[0].version = 12
    refused(model, "opset 12 has no per-channel DequantizeLinear; export with --opset 13")


def test_a_graph_without_layers_is_refused() -> None:
    model = small.network()
    del model.graph.node[:-2]
    model.graph.node.pop()
    refused(model, "no Conv, Gemm or MatMul")


def test_a_missing_scale_is_named() -> None:
    scales = measured(small.network(), small.images(2))
    del scales["silu"], scales["sum"]
    refused(small.network(), r"no scale for 2 tensor\(s\), first silu; calibrate again", scales)


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = small.network()
    w = small.weight(model, "conv1.weight").copy()
    w[0, 0, 0, 0] = np.nan
    small.replace(model, "conv1.weight", w)
    with pytest.raises(QuantError, match="conv1.weight, a weight of conv1, is not finite; mend the checkpoint"):
        place(model, measured(small.network(), small.images(2)))
