"""Planted mistakes of preprocessing are named, and right images are left in peace."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from se_deploy import artifacts
from se_deploy.artifacts import FileRef, Preprocess
from se_deploy.images import decode, preprocess
from se_deploy.stages.build import build
from se_deploy.stages.steps import exported
from se_deploy.stages.steps.suspicious import remarks
from tests.quant import small
from tests.quant.running import run
from tests.stages import exports

RIGHT = exports.HOW
RAW = RIGHT.model_copy(update={"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3})
ZERO_ONE = RAW.model_copy(update={"scale": 1 / 255})
BGR = RIGHT.model_copy(update={"color": "BGR"})


def photographs(folder: Path, count: int, seed: int, mode: str = "RGB") -> Path:
    """Warm images, as most photographs are: more red than blue, and colours that go together."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        light = rng.standard_normal((44, 44, 1)) * 35 + rng.uniform(-30, 30)
        pixels = light + rng.standard_normal((44, 44, 3)) * 12 + np.array([165, 120, 75]) + rng.uniform(-10, 10, 3)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("training"), 40, 1)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("right"), 40, 2)


def statistics(training: Path, how: Preprocess = RIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the first convolution's output (16 channels) on the training images."""
    images = np.stack([preprocess(decode(path, how.color), how) for path in sorted(training.iterdir())])
    first = run(small.network(), images, "conv0_out")[1]
    return first.mean((0, 2, 3)), first.var((0, 2, 3))


def trained(folder: Path, training: Path, how: Preprocess, trained_with: Preprocess = RIGHT) -> Path:
    """An export with preprocessing `how` of a network that was trained with another; its BatchNorm was folded by the exporter."""
    model = exports.directory(folder, how=how)
    mean, var = statistics(training, trained_with)
    eps, weight = 1e-5, small.weight(small.network(), "conv0.weight")
    gamma = np.sqrt(var).astype(np.float32)
    save_file(
        {
            "stem.weight": (weight / 3).astype(np.float32),
            "norm.weight": gamma,
            "norm.bias": mean.astype(np.float32),
            "norm.running_mean": np.zeros(16, np.float32),
            "norm.running_var": ((gamma / 3) ** 2 - eps).astype(np.float32),
            "other.weight": np.ones((16, 3, 3, 3), np.float32),
        },
        model / "weights.safetensors",
    )
    manifest = artifacts.read(artifacts.ModelManifest, model / "manifest.json")
    artifacts.write(manifest.model_copy(update={"weights": FileRef.of(model / "weights.safetensors")}), model / "manifest.json")
    return model


@pytest.mark.parametrize(
    ("how", "trained_with", "said"),
    [
        (RAW, RIGHT, "not normalised as in training: .* with ImageNet's mean and std"),
        (ZERO_ONE, RIGHT, "not normalised as in training: .* with ImageNet's mean and std"),
        (RIGHT, ZERO_ONE, "not normalised as in training: .* with pixels of 0 to 1"),
        (RIGHT, RAW, "not normalised as in training: .* with pixels of 0 to 255"),
        (BGR, RIGHT, "wrong, BGR for RGB: "),
        (RIGHT, BGR, "wrong, RGB for BGR: "),
    ],
)
def test_a_planted_mistake_is_named(
    how: Preprocess, trained_with: Preprocess, said: str, training: Path, right: Path, tmp_path: Path
) -> None:
    source = exported.find(trained(tmp_path, training, how, trained_with))
    (remark,) = remarks(source, right)
    assert re.search(said, remark), remark
    assert ("GR for " in remark or "RGB for" in remark) == ("for" in said)


@pytest.mark.parametrize("how", [RIGHT, RAW, ZERO_ONE, BGR], ids=["imagenet", "0-255", "0-1", "BGR"])
def test_right_images_are_left_in_peace(how: Preprocess, training: Path, right: Path, tmp_path: Path) -> None:
    assert remarks(exported.find(trained(tmp_path, training, how, how)), right) == []


def test_one_channel_for_three(training: Path, tmp_path: Path) -> None:
    source = exported.find(trained(tmp_path, training, RIGHT))
    (remark,) = remarks(source, photographs(tmp_path / "grey", 20, 3, "L"))
    assert remark.startswith("the images are grey, one channel for three: ")


def test_a_network_that_was_trained_on_grey_images_takes_them(tmp_path: Path) -> None:
    grey = photographs(tmp_path / "training", 30, 4, "L")
    source = exported.find(trained(tmp_path, grey, RIGHT))
    assert remarks(source, photographs(tmp_path / "grey", 20, 3, "L")) == []


def with_batchnorm(training: Path) -> ModelProto:
    """The small network with a BatchNorm that the exporter left behind the first convolution."""
    model = small.network()
    mean, var = statistics(training)
    values = {"gamma": np.ones(16), "beta": np.zeros(16), "mean": mean, "var": var}
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), f"bn.{k}") for k, v in values.items())
    node = helper.make_node("BatchNormalization", ["conv0_out", *(f"bn.{k}" for k in values)], ["bn_out"], "bn")
    model.graph.node[1].input[0] = "bn_out"
    model.graph.node.insert(1, node)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_a_batchnorm_in_the_graph_needs_no_checkpoint(training: Path, right: Path, tmp_path: Path) -> None:
    fine = exported.find(exports.directory(tmp_path, with_batchnorm(training), name="fine"))
    wrong = exported.find(exports.directory(tmp_path, with_batchnorm(training), name="wrong", how=BGR))
    assert remarks(fine, right) == []
    assert "BGR for RGB" in remarks(wrong, right)[0]


def test_without_statistics_only_what_is_a_hundred_times_too_large_is_said(right: Path, tmp_path: Path) -> None:
    assert remarks(exported.find(exports.directory(tmp_path, name="fine")), right) == []
    (remark,) = remarks(exported.find(exports.directory(tmp_path, name="raw", how=RAW)), right)
    assert remark.startswith("the images may not be normalised")


def test_build_says_it(training: Path, right: Path, tmp_path: Path) -> None:
    wrong = build(trained(tmp_path / "wrong", training, BGR), int8=True, calib=right)
    fine = build(trained(tmp_path / "fine", training, RIGHT), int8=True, calib=right)
    assert [note for note in wrong.notes if "preprocessing looks wrong" in note] != []
    assert [note for note in fine.notes if "preprocessing looks wrong" in note] == []
