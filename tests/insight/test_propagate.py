import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from se_deploy.artifacts import Preprocess
from se_deploy.graph.fuse import fuse
from se_deploy.graph.gates import tapped, watching
from se_deploy.insight import propagate
from tests.graph.exported import exported
from tests.quant import small

HOW = Preprocess()


def gates_of(model: ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    plain, taps = tapped(model)
    session = ort.InferenceSession(watching(plain, [tap.gate for tap in taps]).SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run([tap.gate for tap in taps], {model.graph.input[0].name: x})
    return {tap.name: value.reshape(len(value), -1) for tap, value in zip(taps, values, strict=True)}


def any_images(count: int, side: int) -> np.ndarray:
    """Noise, single colours, edges, checkers: prepared as HOW says."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (count, 3, side, side)).astype(np.float32)
    pixels[::4] = rng.integers(0, 2, (len(pixels[::4]), 3, 1, 1)) * 255
    pixels[1::4] = (pixels[1::4] > 127) * 255
    pixels[2::4, :, :, : side // 2] = 0
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (HOW.mean, HOW.std))
    return ((pixels / 255 - mean) / std).astype(np.float32)


@pytest.mark.parametrize("name", ["small", "legacy_seresnet18", "mobilenetv3_small_050", "efficientnet_b0"])
def test_no_image_drives_a_gate_out_of_its_proven_bounds(name: str) -> None:
    model = small.network() if name == "small" else fuse(exported(name)).model
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    proven = propagate.gates(model, {model.graph.input[0].name: propagate.pixels(HOW)})
    seen = gates_of(model, any_images(12, side))
    assert set(proven) == set(seen)
    for block, values in seen.items():
        assert (values >= proven[block].low).all(), block
        assert (values <= proven[block].high).all(), block


def test_the_first_gate_of_a_network_is_bounded_tightly() -> None:
    model = small.network()
    small.replace(model, "se.w2", small.weight(model, "se.w2") * np.float32(1e-3))
    bound = propagate.gates(model, {"x": propagate.pixels(HOW)})["se"]
    assert (bound.high - bound.low).max() < 0.9


def test_what_stands_behind_an_unknown_operator_has_no_bounds() -> None:
    model = small.network()
    conv = next(node for node in model.graph.node if node.name == "conv1")
    model.graph.node.insert(list(model.graph.node).index(conv), helper.make_node("Softplus", ["se"], ["soft"]))
    conv = next(node for node in model.graph.node if node.name == "conv1")
    conv.input[0] = "soft"
    assert set(propagate.gates(model, {"x": propagate.pixels(HOW)})) == {"se"}
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
