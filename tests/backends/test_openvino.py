"""The OpenVINO backend: builds, opens, runs in FP32, FP16 and signed INT8, and says what is wrong in one line."""

import functools
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, parser

from se_deploy import backends, op
from se_deploy.artifacts import TensorScale, silent
from se_deploy.backends import Port, Wanted
from se_deploy.backends.openvino import MOST_SHAPES, compiled, read
from se_deploy.errors import BackendError
from se_deploy.graph.half import to_half
from se_deploy.quant.place import place
from tests.quant import small
from tests.quant.running import run

BACKEND = backends.get("openvino")


def built(model: ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    BACKEND.build(folder / "model.onnx", folder / "engine.onnx", silent)
    return folder / "engine.onnx"


def answers(engine: Path, images: np.ndarray) -> np.ndarray:
    with BACKEND.open(engine, threads=1) as runner:
        return runner.run({"x": images})["y"]


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return built(small.network(), tmp_path)


def test_what_it_is() -> None:
    assert (BACKEND.name, BACKEND.suffix, BACKEND.default_precision, BACKEND.signed_int8) == ("openvino", ".onnx", "fp32", True)
    assert BACKEND.missing() is None
    assert BACKEND.versions()["openvino"].count(".") == 2
    assert BACKEND.device().strip()
    assert backends.auto().name != "openvino"


def test_an_engine_has_its_functions_written_out(engine: Path) -> None:
    model = onnx.load(engine)
    assert len(model.functions) == 0
    assert {node.domain for node in model.graph.node} == {""}
    assert sum(node.op_type == "GlobalAveragePool" for node in model.graph.node) == 3  # two SE blocks and the head
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("batch", [1, 3])
def test_fp32_agrees_to_rounding(batch: int, engine: Path) -> None:
    images = small.images(batch)
    expected = run(small.network(), images)[0]
    np.testing.assert_allclose(answers(engine, images), expected, atol=1e-5 * np.ptp(expected))


def test_fp16_is_taken_and_is_near(tmp_path: Path) -> None:
    images = small.images(3)
    expected = run(small.network(), images)[0]
    got = answers(built(to_half(small.network()), tmp_path), images)
    np.testing.assert_allclose(got, expected, atol=5e-3 * np.ptp(expected))
    assert not np.array_equal(got, expected)


@functools.cache
def scales() -> dict[str, TensorScale]:
    """Of every tensor that may get a pair, from its greatest magnitude."""
    names, images = small.MEASURED, small.images(64)
    values = [images, *run(small.network(), images, *names[1:])[1:]]
    ranges = {name: (float(value.min()), float(value.max())) for name, value in zip(names, values, strict=True)}
    return {name: TensorScale(min=low, max=high, scale=max(-low, high) / 127) for name, (low, high) in ranges.items()}


@pytest.mark.parametrize("blocks", [False, True])
def test_signed_int8_agrees_with_what_its_graph_means(blocks: bool, tmp_path: Path) -> None:
    """A rounding may fall to the other side, so the difference is held against what INT8 itself costs."""
    model, images = small.network(), small.images(3)
    place(model, scales(), signed=True, integer_blocks=blocks)
    nodes = [variant for node in model.graph.node if (variant := op.variant_of(node))]
    assert [variant.int8 for variant in nodes] == [blocks, blocks]
    expected, plain = run(model, images)[0], run(small.network(), images)[0]
    cost = np.abs(plain - expected).max()
    assert cost > 0
    assert np.abs(answers(built(model, tmp_path), images) - expected).max() < 0.5 * cost


def test_every_convolution_of_the_signed_form_is_computed_in_integers(tmp_path: Path) -> None:
    model = small.network()
    place(model, scales(), signed=True)
    engine = built(model, tmp_path)
    infos = [node.get_rt_info() for node in compiled(read(engine), engine, 1).get_runtime_model().get_ops()]
    kinds = [info["primitiveType"].astype(str) for info in infos if info["layerType"].astype(str) == "Convolution"]
    assert len(kinds) == 5
    assert all(kind.endswith(("_I8", "_i8", "_U8", "_u8")) for kind in kinds), kinds


def test_runner_knows_its_ports(engine: Path) -> None:
    with BACKEND.open(engine) as runner:
        assert runner.inputs == (Port("x", "float32", ("N", 3, 32, 32)),)
        assert runner.outputs == (Port("y", "float32", ("N", small.CLASSES)),)


def test_more_shapes_than_it_keeps_still_answer(engine: Path) -> None:
    images = small.images(MOST_SHAPES + 2)
    expected = run(small.network(), images)[0]
    with BACKEND.open(engine, threads=1) as runner:
        for count in [*range(1, len(images) + 1), 1]:
            got = runner.run({"x": images[:count]})["y"]
            np.testing.assert_allclose(got, expected[:count], atol=1e-5 * np.ptp(expected))


def test_answers_are_the_callers_own(engine: Path) -> None:
    images = small.images(2)
    with BACKEND.open(engine, threads=1) as runner:
        first = runner.run({"x": images})["y"]
        kept = first.copy()
        runner.run({"x": images + 1})
    np.testing.assert_array_equal(first, kept)


def test_build_takes_external_weights_along(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    onnx.save_model(small.network(), source / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    BACKEND.build(source / "m.onnx", tmp_path / "e.onnx", silent)
    (source / "w.bin").unlink()
    assert sorted(os.listdir(tmp_path)) == ["e.onnx", "e.onnx.data", "source"]
    expected = run(small.network(), small.images(2))[0]
    np.testing.assert_allclose(answers(tmp_path / "e.onnx", small.images(2)), expected, atol=1e-5 * np.ptp(expected))


BAD = '<ir_version: 8, opset_import: ["" : 17, "x" : 1]> g (float[N] x) => (float[N] y) { y = x.Nothing(x) }'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "OpenVINO does not take model: it is no ONNX file; check"),
        (b"", "OpenVINO does not take model: it holds no network; check"),
        (BAD, "OpenVINO does not take model: .*No conversion rule found for operations: x.Nothing; check"),
    ],
)
def test_what_it_refuses_is_one_clear_line(content: bytes | str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(content).SerializeToString() if isinstance(content, str) else content)
    with pytest.raises(BackendError, match=said) as refused:
        BACKEND.build(path, tmp_path / "e.onnx", silent, Wanted(about=Path("model")))
    assert "\n" not in str(refused.value)
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_missing_engine_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no engine .*e.onnx; run `se-deploy build` first"):
        BACKEND.open(tmp_path / "e.onnx")


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": np.zeros((2, 3, 32, 31), np.float32)}, r"x is \[2, 3, 32, 31\], the network takes \['N', 3, 32, 32\]"),
        ({"x": np.zeros((3, 32, 32), np.float32)}, r"x is \[3, 32, 32\], the network takes"),
        ({"x": np.zeros((2, 3, 32, 32), np.float64)}, "x is float64, the network takes float32"),
        ({"z": np.zeros((2, 3, 32, 32), np.float32)}, "it takes x, given are z"),
        ({}, "it takes x, given are none"),
    ],
)
def test_a_wrong_feed_is_said(feeds: dict, said: str, engine: Path) -> None:
    with BACKEND.open(engine) as runner, pytest.raises(BackendError, match=f"refuses the input: {said}"):
        runner.run(feeds)
