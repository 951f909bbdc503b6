"""Calibration sees every tensor of every batch, and keeps none of them."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper

from se_deploy.quant import calibrate, sites
from tests.quant import small
from tests.quant.running import run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(small.network(), path)
    return path


def one_by_one(images: np.ndarray, size: int = 1) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), size):
        yield {"x": images[start : start + size]}


def test_ranges_are_those_of_all_images_at_once(path: Path) -> None:
    tensors = list(sites.find(onnx.load(path), outputs=True).tensors)
    images = small.images(7)
    seen = calibrate.observe(path, tensors, one_by_one(images, 2), threads=1)
    values = dict(zip(["y", *tensors[1:]], run(onnx.load(path), images, *tensors[1:]), strict=True)) | {"x": images}
    assert list(seen) == tensors == list(small.BOTH_SIDES)
    for name in tensors:
        assert seen[name].min == pytest.approx(float(values[name].min()), rel=1e-5, abs=1e-6), name
        assert seen[name].max == pytest.approx(float(values[name].max()), rel=1e-5, abs=1e-6), name


def test_at_most_two_batches_are_alive(path: Path) -> None:
    alive: list[weakref.ref] = []
    most = 0

    def batches() -> Iterator[dict[str, np.ndarray]]:
        nonlocal most
        for image in range(20):
            batch = small.images(1, seed=image)
            alive.append(weakref.ref(batch))
            most = max(most, sum(ref() is not None for ref in alive))
            yield {"x": batch}
            del batch

    calibrate.observe(path, list(small.BOTH_SIDES), batches(), threads=1)
    assert len(alive) == 20
    assert most == 2


def test_batches_are_asked_for_one_at_a_time(path: Path) -> None:
    """A bad batch is met only when it is reached: nothing is read ahead."""

    def batches() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": small.images(1)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate.observe(path, ["se"], batches())


def test_external_weights_are_found(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    onnx.save_model(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert any(map(external_data_helper.uses_external_data, onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer))
    want = calibrate.observe(path, ["se", "sum"], one_by_one(small.images(2)), threads=1)
    assert calibrate.observe(tmp_path / "model.onnx", ["se", "sum"], one_by_one(small.images(2)), threads=1) == want


def test_the_networks_own_output_can_be_watched(path: Path) -> None:
    images = small.images(3)
    (y,) = run(onnx.load(path), images)
    seen = calibrate.observe(path, ["y"], one_by_one(images, 3), threads=1)
    assert seen["y"].max == pytest.approx(float(y.max()), rel=1e-5)


def test_not_finite_values_are_counted(path: Path) -> None:
    images = small.images(2)
    images[1, 0, 0, :5] = np.nan, np.inf, -np.inf, np.nan, 7
    seen = calibrate.observe(path, ["x"], one_by_one(images), threads=1)["x"]
    assert (seen.nonfinite, seen.max) == (4, 7.0)
