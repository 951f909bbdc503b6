"""The ONNX Runtime backend: builds, opens, runs, and says what is wrong in one line."""

import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from se_deploy import backends
from se_deploy.artifacts import silent
from se_deploy.backends import Port
from se_deploy.errors import BackendError
from tests.quant import small
from tests.quant.running import run

BACKEND = backends.get("onnxruntime")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    onnx.save(small.network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_auto_takes_onnx_runtime() -> None:
    backend = backends.auto()
    assert (backend.name, backend.suffix, backend.default_precision, backend.signed_int8) == ("onnxruntime", ".onnx", "fp32", False)
    assert backend.missing() is None
    assert backend.versions()["onnxruntime"].count(".") == 2
    assert backend.device().strip()


def test_runner_knows_its_ports_and_runs(engine: Path) -> None:
    images = small.images(3)
    with BACKEND.open(engine, threads=1, optimised=False) as runner:
        assert runner.inputs == (Port("x", "float32", ("N", 3, 32, 32)),)
        assert runner.outputs == (Port("y", "float32", ("N", small.CLASSES)),)
        got = runner.run({"x": images})
    assert list(got) == ["y"]
    np.testing.assert_array_equal(got["y"], run(small.network(), images)[0])


def test_optimised_differs_only_in_rounding(engine: Path) -> None:
    images = small.images(3)
    answers = []
    for optimised in (True, False):
        with BACKEND.open(engine, threads=1, optimised=optimised) as runner:
            answers.append(runner.run({"x": images})["y"])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4 * np.ptp(answers[1]))


def test_a_session_that_has_run_takes_no_core(engine: Path) -> None:
    """Else what is measured beside it has a core less: its threads would spin."""
    time.sleep(0.2)  # what other tests ran may spin
    with BACKEND.open(engine, threads=2) as runner:
        for _ in range(20):
            runner.run({"x": small.images(8)})
        before = time.process_time()
        time.sleep(0.1)
        assert time.process_time() - before < 0.02


def test_build_copies_what_it_takes(engine: Path, tmp_path: Path) -> None:
    BACKEND.build(engine, tmp_path / "e.onnx", silent)
    assert (tmp_path / "e.onnx").read_bytes() == engine.read_bytes()


def test_build_takes_external_weights_along(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    onnx.save_model(small.network(), source / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    BACKEND.build(source / "m.onnx", tmp_path / "e.onnx", silent)
    (source / "w.bin").unlink()
    assert sorted(os.listdir(tmp_path)) == ["e.onnx", "e.onnx.data", "source"]
    with BACKEND.open(tmp_path / "e.onnx", optimised=False) as runner:
        np.testing.assert_allclose(runner.run({"x": small.images(2)})["y"], run(small.network(), small.images(2))[0], rtol=1e-5)


BAD = '<ir_version: 8, opset_import: ["" : 17, "x" : 1]> g (float[N] x) => (float[N] y) { y = x.Nothing(x) }'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "does not take .*m.onnx: Load model from .*Protobuf parsing failed"),
        (b"", "does not take"),
        (BAD, "does not take .*Nothing"),
    ],
)
def test_what_it_refuses_is_one_clear_line(content: bytes | str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(parser.parse_model(content).SerializeToString() if isinstance(content, str) else content)
    with pytest.raises(BackendError, match=said):
        BACKEND.build(path, tmp_path / "e.onnx", silent)
    assert not (tmp_path / "e.onnx").exists()
    assert capfd.readouterr() == ("", "")  # the library's own log is not ours to spread


def test_a_missing_engine_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no engine .*e.onnx; run `se-deploy build` first"):
        BACKEND.open(tmp_path / "e.onnx")


@pytest.mark.parametrize("feeds", [{"x": np.zeros((2, 3, 32, 31), np.float32)}, {"x": np.zeros((2, 3, 32, 32), np.float64)}])
def test_a_wrong_feed_is_said(feeds: dict, engine: Path) -> None:
    said = "refuses the input: [A-Z].*; give what the engine's manifest names"
    with BACKEND.open(engine) as runner, pytest.raises(BackendError, match=said):
        runner.run(feeds)
