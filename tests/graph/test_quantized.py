"""Blocks of quantized files: in INT8 form where all that they read and make is int8, in float form otherwise; pairs inside seen through."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from se_deploy.graph.fuse import fuse
from se_deploy.graph.unfuse import unfuse
from tests.graph.exported import exported, images
from tests.graph.exported import run as answer
from tests.graph.spelled import FCS, assert_equal, check_left_alone, model, ops, run

SCALES = "z = Constant <value = int8 {0}> ()  k = Constant <value_float = 0.05> ()  kg = Constant <value_float = 0.0078125> ()"


def pair(name: str, scale: str = "k", zero: str = "z") -> str:
    """`name`q and `name`d: quantized, and back."""
    return f"{name}q = QuantizeLinear({name}, {scale}, {zero})  {name}d = DequantizeLinear({name}q, {scale}, {zero})"


def fused(plain: onnx.ModelProto, expected: list[str], steps: float = 1.01) -> onnx.ModelProto:
    """Fuses; the numbers are the plain graph's to `steps` steps of the output's scale, there and back."""
    onnx.checker.check_model(plain, full_check=True)
    result = fuse(plain)
    assert ops(result.model) == expected
    assert result.found.rejections == ()
    onnx.checker.check_model(result.model, full_check=True)
    back = unfuse(result.model)
    for batch in (1, 3):
        (want,) = run(plain, batch)
        assert np.ptp(want) > 40 * 0.05
        for other in (result.model, back):
            assert np.abs(run(other, batch)[0] - want).max() <= steps * 0.05
    again = fuse(result.model)
    assert again.fused == ()
    return result.model


SE = f"{SCALES}  {pair('x')}  p = GlobalAveragePool(xd)  {FCS}  w0 = Mul(xd, g)"
INT8 = "relu_sigmoid_skip_{}_then_{}_int8"


def test_scales_become_attributes() -> None:
    result = fuse(model(f"{SE}  w0q = QuantizeLinear(w0, kg, z)  y = DequantizeLinear(w0q, kg, z)"))
    (match,) = result.found.matches
    assert match.attributes == {"x_scale": float(np.float32(0.05)), "y_scale": 0.0078125}
    assert match.x == "xq"


def test_int8_form() -> None:
    fused(model(f"{SE}  {pair('w0')}  y = Identity(w0d)"), ["QuantizeLinear", INT8.format("none", "none"), "DequantizeLinear", "Identity"])


def test_map_dequantized_twice() -> None:
    body = f"{SE}  {pair('w0')}  y = Identity(w0d)".replace("Mul(xd, g)", "Mul(xe, g)")
    body = body.replace("p = Global", "xe = DequantizeLinear(xq, k, z)  p = Global")
    fused(model(body), ["QuantizeLinear", INT8.format("none", "none"), "DequantizeLinear", "Identity"])


RESIDUAL = "e = Constant <value_float = 0.5> ()  r = Mul(x, e)  " + pair("r")


def test_residual_and_relu() -> None:
    body = f"{RESIDUAL.replace('z)', 'z)')}  a0 = Add(w0, rd)  a1 = Relu(a0)  {pair('a1')}  y = Identity(a1d)"
    body = f"{SE}  {body}"
    fused(model(body), ["QuantizeLinear", "Mul", "QuantizeLinear", INT8.format("add", "relu"), "DequantizeLinear", "Identity"])


def test_residual_behind_a_quantized_product() -> None:
    """Quantizers round the product before the addition; the node leaves that rounding out."""
    body = f"{SE}  {RESIDUAL}  {pair('w0')}  a0 = Add(w0d, rd)  {pair('a0')}  y = Identity(a0d)"
    fused(model(body), ["QuantizeLinear", "Mul", "QuantizeLinear", INT8.format("add", "none"), "DequantizeLinear", "Identity"], steps=1.51)


def test_float_residual_keeps_the_float_form() -> None:
    body = f"{SE}  e = Constant <value_float = 0.5> ()  r = Mul(x, e)  a0 = Add(w0, r)  {pair('a0')}  y = Identity(a0d)"
    fused(
        model(body),
        ["QuantizeLinear", "DequantizeLinear", "Mul", "relu_sigmoid_skip_add_then_none", "QuantizeLinear", "DequantizeLinear", "Identity"],
    )


def test_output_read_in_float_too_keeps_the_float_form() -> None:
    body = f"{SE}  {pair('w0')}  y = Add(w0d, w0)"
    fused(
        model(body), ["QuantizeLinear", "DequantizeLinear", "relu_sigmoid_skip_none_then_none", "QuantizeLinear", "DequantizeLinear", "Add"]
    )


def test_unsigned_maps_keep_the_float_form() -> None:
    body = f"{SE}  {pair('w0')}  y = Identity(w0d)".replace("int8 {0}", "uint8 {100}")
    fused(
        model(body),
        ["QuantizeLinear", "DequantizeLinear", "relu_sigmoid_skip_none_then_none", "QuantizeLinear", "DequantizeLinear", "Identity"],
    )


INSIDE = (
    f"{SCALES}  {pair('x')}  p = GlobalAveragePool(xd)  {pair('p', 'kg')}  W1q = QuantizeLinear(W1, kg, z)  W1d0 = DequantizeLinear(W1q, kg, z)  "
    f"h = Conv(pd, W1d0, b1)  a = Relu(h)  {pair('a')}  v = Conv(ad, W2, b2)  g = Sigmoid(v)  {pair('g', 'kg')}  w0 = Mul(xd, gd)  {pair('w0')}  "
    "y = Identity(w0d)"
)


def test_pairs_inside_and_quantized_weights() -> None:
    fused(model(INSIDE), ["QuantizeLinear", INT8.format("none", "none"), "DequantizeLinear", "Identity"], steps=4.01)


def test_relu_that_a_zero_point_stands_for() -> None:
    """uint8 with zero point 0 cuts at zero: without that the hidden vector would have no activation."""
    body = f"{SE}  {pair('w0')}  y = Identity(w0d)".replace(
        "a = Relu(h)", f"u = Constant <value = uint8 {{0}}> ()  {pair('h', 'k', 'u')}  a = Identity(hd)"
    )
    fused(model(body), ["QuantizeLinear", INT8.format("none", "none"), "DequantizeLinear", "Identity"], steps=2.01)


@pytest.mark.parametrize(
    "back", ["gd = DequantizeLinear(gq, k, z)", "gd = DequantizeLinear(gq, kg, u)"], ids=["other-scale", "other-zero-point"]
)
def test_halves_that_do_not_match_are_named(back: str) -> None:
    body = f"{SCALES}  u = Constant <value = int8 {{3}}> ()  p = GlobalAveragePool(x)  {FCS}  gq = QuantizeLinear(g, kg, z)  {back}  y = Mul(x, gd)"
    check_left_alone(model(body), ["quantized"])


def test_pair_around_a_float_block_changes_little() -> None:
    """Inside a float network, too: the pair on the gate goes, and with it its rounding."""
    plain = model(f"{SCALES}  p = GlobalAveragePool(x)  {FCS}  {pair('g', 'kg')}  y = Mul(x, gd)")
    result = fuse(plain)
    assert ops(result.model) == ["relu_sigmoid_skip_none_then_none"]
    assert_equal(plain, result.model, tolerance=0.0078125 / 2)


class _Images(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = [images(4, 32, seed) for seed in range(3)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"input": self.left.pop()} if self.left else None


def by_onnxruntime(folder: Path, signed: bool) -> Path:
    """A legacy SE-ResNet-18 as ONNX Runtime's quantizer writes it: every tensor in a pair, weights per channel; float.onnx beside it."""
    onnx.save(exported("legacy_seresnet18", 32), folder / "float.onnx")
    kind = QuantType.QInt8 if signed else QuantType.QUInt8
    quantize_static(folder / "float.onnx", folder / "int8.onnx", _Images(), QuantFormat.QDQ, per_channel=True,
                    activation_type=kind, weight_type=QuantType.QInt8, extra_options={"ActivationSymmetric": signed})  # fmt: skip
    return folder / "int8.onnx"


@pytest.mark.parametrize(
    ("signed", "form"), [(True, "relu_sigmoid_skip_add_then_relu_int8"), (False, "relu_sigmoid_skip_none_then_none")], ids=["int8", "uint8"]
)
def test_network_by_onnxruntimes_quantizer(tmp_path: Path, signed: bool, form: str) -> None:
    """All 8 blocks, in INT8 form where the maps are int8."""
    plain = onnx.load(by_onnxruntime(tmp_path, signed))
    result = fuse(plain)
    assert [m.variant.name.removeprefix("SqueezeExcite_") for m in result.found.matches] == [form] * 8
    assert result.found.rejections == ()
    onnx.checker.check_model(result.model, full_check=True)
    x = images(8, 32, seed=7)
    reference = answer(onnx.load(tmp_path / "float.onnx"), x)
    noise = [np.square(answer(m, x) - reference).mean() for m in (plain, result.model, unfuse(result.model))]
    # Fewer roundings: no further from the float network than the quantized file was, but for chance.
    assert max(noise[1:]) <= 1.25 * noise[0]
    assert noise[0] < 0.1 * reference.var()


def test_a_quantized_file_is_exported_and_what_its_roundings_do_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_deploy.stages.export import export

    monkeypatch.chdir(tmp_path)
    made = export(by_onnxruntime(tmp_path, signed=True))
    assert made.se_blocks == 8
    assert any("one step of INT8" in note for note in made.notes)
