"""What a loaded network carries besides its weights, and what of it contradicts."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from se_deploy.artifacts import Preprocess
from se_deploy.errors import LoadError
from se_deploy.networks.build import build
from se_deploy.networks.load import load
from tests.networks.shaking import shake
from tests.networks.sources import moskomule_se_resnet50, shaken, vggface2_senet50


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return shake(timm.create_model("seresnet18", num_classes=4), 4, 3, 64, 64)


def saved(folder: Path, value: Any) -> str:
    torch.save(value, folder / "x.pt")
    return str(folder / "x.pt")


def test_a_bare_state_dict(net: nn.Module, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    network = load(saved(tmp_path, net.state_dict()), progress=lambda *step: steps.append(step))
    assert (network.arch, network.kwargs) == ("timm:seresnet18", {"num_classes": 4})
    assert (network.input_size, network.labels, network.notes) == ((3, 224, 224), None, ())
    assert network.preprocess == Preprocess(resize=256, crop=224, interpolation="bicubic")  # timm's for seresnet18
    assert not network.module.training
    assert all(value.dtype in (torch.float32, torch.int64) and value.device.type == "cpu" for value in network.module.state_dict().values())
    assert [step[1:] for step in steps] == [(0, 1), (1, 1)]


def test_our_own_fields(net: nn.Module, tmp_path: Path) -> None:
    own = {
        "arch": "seresnet18",
        "input_size": [3, 32, 48],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.5, 0.5, 0.25],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "class_names": ["a", "b", "c", "d"],
    }
    network = load(saved(tmp_path, {"state_dict": net.state_dict(), **own}))
    assert network.input_size == (3, 32, 48)
    assert network.preprocess == Preprocess(resize=(32, 48), crop=(32, 48), mean=(0.5, 0.4, 0.3), std=(0.5, 0.5, 0.25))
    assert network.labels == ("a", "b", "c", "d")


def test_timm_train_script(net: nn.Module, tmp_path: Path) -> None:
    args = argparse.Namespace(model="seresnet18", input_size=None, img_size=160, mean=None, std=[0.3] * 3, crop_pct=None, interpolation="")
    value = {"epoch": 3, "arch": "seresnet18", "state_dict": net.state_dict(), "args": args, "version": 2, "metric": 0.5}
    network = load(saved(tmp_path, value))
    assert network.input_size == (3, 160, 160)
    assert network.preprocess == Preprocess(resize=182, crop=160, interpolation="bicubic", std=(0.3, 0.3, 0.3))
    assert network.notes == ("raw weights taken (state_dict); the file has no EMA weights",)


def test_the_hint_settles_a_tie_and_a_wrong_one_does_no_harm(tmp_path: Path) -> None:
    source = shake(timm.create_model("tf_mobilenetv3_small_075", num_classes=3), 4, 3, 64, 64)
    told = load(saved(tmp_path, {"state_dict": source.state_dict(), "arch": "tf_mobilenetv3_small_075"}))
    assert (told.arch, told.notes[1:]) == ("timm:tf_mobilenetv3_small_075", ())
    wrong = load(saved(tmp_path, {"state_dict": source.state_dict(), "arch": "resnet50"}))
    assert wrong.arch == "timm:mobilenetv3_small_075"


def test_the_hints_structure_comes_from_the_shapes(tmp_path: Path) -> None:
    source = shake(timm.create_model("seresnetaa50d", num_classes=3, layers=[1, 2, 1, 1]), 4, 3, 64, 64)
    network = load(saved(tmp_path, {"state_dict": source.state_dict(), "arch": "seresnetaa50d"}))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.module(images), source(images))


def test_safetensors_metadata(net: nn.Module, tmp_path: Path) -> None:
    metadata = {"arch": "seresnet18", "mean": "[0.1, 0.2, 0.3]", "input_size": "[3, 64, 64]", "labels": json.dumps(list("wxyz"))}
    save_file(net.state_dict(), tmp_path / "x.safetensors", metadata)
    network = load(str(tmp_path / "x.safetensors"))
    assert network.input_size == (3, 64, 64)
    assert network.preprocess is not None
    assert network.preprocess.mean == (0.1, 0.2, 0.3)
    assert network.labels == ("w", "x", "y", "z")


@pytest.mark.parametrize(
    "fields",
    [
        {"class_to_idx": {"b": 1, "a": 0, "d": 3, "c": 2}},
        {"idx_to_class": {0: "a", 1: "b", 2: "c", 3: "d"}},
        {"labels": ("a", "b", "c", "d")},
        {"meta": {"classes": ["a", "b", "c", "d"]}},
        {"hyper_parameters": {"class_names": ["a", "b", "c", "d"]}},
    ],
)
def test_labels_in_every_form(fields: dict[str, Any], net: nn.Module, tmp_path: Path) -> None:
    assert load(saved(tmp_path, {"state_dict": net.state_dict(), **fields})).labels == ("a", "b", "c", "d")


def test_labels_of_another_number_are_left_out(net: nn.Module, tmp_path: Path) -> None:
    network = load(saved(tmp_path, {"state_dict": net.state_dict(), "labels": ["a", "b"]}))
    assert network.labels is None
    assert network.notes[-1] == "the checkpoint's 2 class names are left out: the network has 4 classes"


def test_means_of_bytes_mean_no_scaling(net: nn.Module, tmp_path: Path) -> None:
    value = {"state_dict": net.state_dict(), "mean": [123.0, 117.0, 104.0], "std": [58.0, 57.0, 57.0]}
    network = load(saved(tmp_path, value))
    assert network.preprocess is not None
    assert (network.preprocess.scale, network.preprocess.std) == (1.0, (58.0, 57.0, 57.0))


def test_grey_images(tmp_path: Path) -> None:
    source = shake(timm.create_model("seresnet18", num_classes=4, in_chans=1), 4, 1, 64, 64)
    network = load(saved(tmp_path, {"state_dict": source.state_dict(), "mean": 0.3, "std": 0.2, "input_size": [1, 28, 28]}))
    assert network.input_size == (1, 28, 28)
    assert network.preprocess == Preprocess(resize=32, crop=28, interpolation="bicubic", color="L", mean=(0.3,), std=(0.2,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_fp32(dtype: torch.dtype, net: nn.Module, tmp_path: Path) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in net.state_dict().items()}
    network = load(saved(tmp_path, state))
    assert network.notes == (f"{str(dtype).removeprefix('torch.')} weights converted to FP32",)
    assert torch.equal(network.module.get_parameter("conv1.weight"), state["conv1.weight"].float())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(bad: float, net: nn.Module, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in net.state_dict().items()}
    state["layer2.0.se.fc1.weight"][0, 0] = bad
    with pytest.raises(LoadError, match="layer2.0.se.fc1.weight holds values that are not finite"):
        load(saved(tmp_path, state))


def test_another_number_of_classes_is_an_error(net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, net.state_dict())
    assert load(path, num_classes=4).kwargs == {"num_classes": 4}
    with pytest.raises(LoadError, match=r"x.pt has 4 classes, --num-classes says 10"):
        load(path, num_classes=10)


def test_a_given_architecture_overrides_the_hint(net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": net.state_dict(), "arch": "resnet50"})
    assert load(path, arch="timm:seresnet18").arch == "timm:seresnet18"
    with pytest.raises(LoadError) as caught:
        load(path, arch="seresnet50")
    assert "is no timm:seresnet50: 45 missing: layer1.0.conv3.weight, " in caught.value.message
    assert "; 48 of another size: layer1.0.se.fc1.weight is 8x64x1x1, wanted 8x256x1x1, " in caught.value.message


def test_wrappers_and_prefixes_end_to_end(net: nn.Module, tmp_path: Path) -> None:
    raw = {f"module._orig_mod.{key}": torch.zeros_like(value) for key, value in net.state_dict().items()}
    ema = {f"module.backbone.{key}": value for key, value in net.state_dict().items()}
    network = load(saved(tmp_path, {"state_dict": raw, "state_dict_ema": ema, "optimizer": {"state": {}}}))
    assert network.notes == ("EMA weights taken (state_dict_ema)", "prefix module.backbone. taken off the keys")
    assert torch.equal(network.module.get_parameter("fc.weight"), net.get_parameter("fc.weight"))


def test_foreign_keys_go_through_their_dialect(tmp_path: Path) -> None:

    source = shaken(moskomule_se_resnet50(5, (1, 1, 1, 1)))
    network = load(saved(tmp_path, {"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network.module(images), source(images), rtol=0, atol=1e-5)
    assert network.arch == "timm:seresnet50"
    again = build(network.arch, **json.loads(json.dumps(network.kwargs)))
    again.load_state_dict(network.module.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(images), network.module(images))


def test_vggface2_images_are_bgr(tmp_path: Path) -> None:

    source = shaken(vggface2_senet50(9))
    network = load(saved(tmp_path, source.state_dict()))
    assert (network.arch, network.kwargs) == ("timm:legacy_seresnet50", {"num_classes": 9, "in_chans": 3})
    assert network.preprocess == Preprocess(
        resize=256, crop=224, color="BGR", scale=1.0, mean=(91.4953, 103.8827, 131.0912), std=(1.0, 1.0, 1.0)
    )


def test_options_that_do_not_go_together(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="take --random with timm:NAME"):
        load(saved(tmp_path, net.state_dict()), random=True)
    with pytest.raises(LoadError, match="leave --arch out"):
        load("timm:seresnet18", arch="seresnet50")
