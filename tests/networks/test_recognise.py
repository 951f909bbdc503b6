"""From keys and shapes alone to the network, and to the same answers."""

from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import SEModule
from torch import nn
from torchvision import models

from se_deploy.errors import LoadError
from se_deploy.networks import zoo
from se_deploy.networks.build import build
from se_deploy.networks.load import load
from se_deploy.networks.recognise import recognise
from se_deploy.networks.skeleton import skeleton
from tests.networks.shaking import shake

TIMM = ("seresnet*", "seresnext*", "legacy_se*", "efficientnet_*", "tf_efficientnet_b*", "mobilenetv3_*", "regnety_*", "rexnet*")
TORCHVISION = ("efficientnet_*", "mobilenet_v3_*", "regnet_y_*")
#: Names of equal keys, by the one taken.
TIES = {
    "timm:efficientnet_b0": {"timm:tf_efficientnet_b0", "timm:efficientnet_blur_b0"},
    "timm:seresnext101d_32x8d": {"timm:seresnextaa101d_32x8d"},
    **{f"timm:efficientnet_{n}": {f"timm:tf_efficientnet_{n}"} for n in ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "l2")},
    **{f"timm:efficientnet_{n}": {f"timm:tf_efficientnet_{n}"} for n in ("cc_b0_4e", "cc_b0_8e", "cc_b1_8e", "el", "em", "es")},
    **{f"timm:efficientnet_lite{n}": {f"timm:tf_efficientnet_lite{n}"} for n in range(5)},
    **{f"timm:mobilenetv3_{n}": {f"timm:tf_mobilenetv3_{n}"} for n in ("large_075", "large_100", "small_075", "small_100")},
}
TIES["timm:efficientnet_el"] |= {"timm:efficientnet_el_pruned"}
TIES["timm:efficientnet_es"] |= {"timm:efficientnet_es_pruned"}


def names() -> list[str]:
    found = [f"timm:{n}" for n in timm.list_models() if any(fnmatch(n, glob) for glob in TIMM)]
    found += [f"torchvision:{n}" for n in models.list_models(module=models) if any(fnmatch(n, glob) for glob in TORCHVISION)]
    return found + [f"ours:{n}" for n in zoo.BUILDERS]


def bare(arch: str, kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state_dict of shapes alone."""
    return {key: torch.empty(shape, device="meta") for key, shape in skeleton(arch, kwargs).shapes.items()}


def test_every_network_of_the_families_is_told_from_all_others() -> None:
    told = {arch: recognise("x.pt", bare(arch, {}), None, None) for arch in names()}
    taken = {arch: found.fit.arch for arch, found in told.items()}
    wrong = {arch: full for arch, full in taken.items() if arch != full and arch not in TIES.get(full, set())}
    assert wrong == {}
    assert all(set(found.ties) == TIES.get(found.fit.arch, set()) for found in told.values())
    assert len(taken) > 130


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("timm:seresnet18", {}),
    ("timm:seresnet33ts", {}),
    ("timm:seresnet50", {"layers": [1, 2, 1, 1], "num_classes": 7}),
    ("timm:seresnext26d_32x4d", {}),
    ("timm:seresnext26ts", {}),
    ("timm:seresnext50_32x4d", {"layers": [1, 1, 2, 1], "cardinality": 16, "base_width": 8, "num_classes": 5}),
    ("timm:seresnet50t", {"layers": [1, 1, 1, 1], "num_classes": 3}),
    ("timm:senet154", {"layers": [1, 1, 1, 1], "num_classes": 3}),
    ("timm:legacy_seresnet18", {}),
    ("timm:legacy_seresnet50", {"layers": [2, 1, 1, 1], "reduction": 8, "num_classes": 4}),
    ("timm:legacy_seresnext26_32x4d", {}),
    ("timm:legacy_senet154", {"layers": [1, 1, 1, 1], "num_classes": 6}),
    ("timm:efficientnet_b0", {"num_classes": 9}),
    ("timm:mobilenetv3_small_050", {}),
    ("timm:mobilenetv3_large_075", {"num_classes": 11}),
    ("timm:regnety_002", {}),
    ("timm:regnety_004", {"in_chans": 4}),
    ("timm:rexnet_100", {}),
    ("timm:rexnet_130", {"num_classes": 12}),
    ("torchvision:efficientnet_b0", {"num_classes": 8}),
    ("torchvision:mobilenet_v3_small", {}),
    ("torchvision:mobilenet_v3_large", {"num_classes": 10, "in_chans": 1}),
    ("torchvision:regnet_y_400mf", {}),
    ("ours:se_densenet121", {"num_classes": 5}),
]


@pytest.mark.parametrize(("arch", "kwargs"), SMALL, ids=[f"{arch}-{len(kwargs)}" for arch, kwargs in SMALL])
def test_loads_by_keys_alone_and_answers_the_same(arch: str, kwargs: dict[str, Any], tmp_path: Path) -> None:
    channels = kwargs.get("in_chans", 3)
    source = shake(build(arch, **kwargs), 4, channels, 64, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = load(str(tmp_path / "weights.pt"))
    assert network.kwargs["num_classes"] == kwargs.get("num_classes", 1000)
    assert network.input_size[0] == channels
    assert equal(network.module, source, channels)
    again = build(network.arch or "", **network.kwargs)
    again.load_state_dict(network.module.state_dict())
    assert equal(again, source, channels)


def equal(one: nn.Module, other: nn.Module, channels: int = 3) -> bool:
    images = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first, second = one(images), other(images)
    assert first.std() > 1e-3
    return torch.equal(first, second)


@pytest.mark.parametrize(
    ("arch", "kwargs", "gates"),
    [
        ("timm:seresnet18", {}, [2, 2, 4, 4, 8, 8, 16, 16]),
        ("timm:rexnet_100", {}, [5] * 13),
        ("timm:mobilenetv3_small_050", {}, [3] * 9),
        ("torchvision:mobilenet_v3_small", {}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_reduced_widths_are_read_from_the_shapes(arch: str, kwargs: dict[str, Any], gates: list[int], tmp_path: Path) -> None:
    source = shake(build(arch, se_reduced=gates, **kwargs), 4, 3, 64, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = load(str(tmp_path / "weights.pt"))
    assert (network.arch, network.kwargs["se_reduced"]) == (arch, gates)
    assert equal(network.module, source)


def test_r_32_into_the_usual_16(tmp_path: Path) -> None:
    layer = partial(SEModule, rd_ratio=1 / 32, rd_divisor=1)
    made = timm.create_model("seresnet50", layers=[1, 1, 1, 1], block_args={"attn_layer": layer}, in_chans=1, num_classes=7)
    source = shake(made, 4, 1, 64, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = load(str(tmp_path / "weights.pt"))
    assert network.kwargs == {"layers": [1, 1, 1, 1], "num_classes": 7, "in_chans": 1, "se_reduced": [8, 16, 32, 64]}
    assert (network.input_size, network.preprocess) == ((1, 224, 224), None)
    assert equal(network.module, source, 1)


def test_a_tie_takes_the_plain_name_and_names_the_others(tmp_path: Path) -> None:
    source = shake(build("timm:tf_efficientnet_b0", num_classes=4), 4, 3, 64, 64)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    network = load(str(path))
    assert network.arch == "timm:efficientnet_b0"
    assert network.notes == (
        "the keys fit timm:efficientnet_b0 and timm:tf_efficientnet_b0, timm:efficientnet_blur_b0; "
        "took timm:efficientnet_b0, name another with --arch",
    )
    assert not equal(network.module, source)
    told = load(str(path), arch="tf_efficientnet_b0")
    assert (told.arch, told.notes) == ("timm:tf_efficientnet_b0", ())
    assert equal(told.module, source)


def test_a_bare_name_is_timms_or_the_library_whose_keys_they_are(tmp_path: Path) -> None:
    source = shake(build("torchvision:efficientnet_b0", num_classes=4), 4, 3, 64, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    assert load(str(tmp_path / "weights.pt"), arch="efficientnet_b0").arch == "torchvision:efficientnet_b0"
    with pytest.raises(LoadError, match="is no timm:efficientnet_b0: .* missing: "):
        load(str(tmp_path / "weights.pt"), arch="timm:efficientnet_b0")


def test_missing_and_left_over_keys_are_listed_se_keys_first() -> None:
    state = bare("timm:seresnet18", {})
    del state["bn1.bias"], state["layer4.1.se.fc2.weight"]
    state["extra.weight"] = torch.empty(3)
    with pytest.raises(LoadError) as caught:
        recognise("x.pt", state, None, None)
    assert caught.value.message == (
        "x.pt is nearly timm:seresnet18: 2 missing: layer4.1.se.fc2.weight, bn1.bias; 1 left over: extra.weight"
    )


def test_many_missing_keys_are_counted() -> None:
    state = {key: value for key, value in bare("timm:seresnet18", {}).items() if ".se." not in key}
    with pytest.raises(LoadError) as caught:
        recognise("x.pt", state, "seresnet18", None)
    assert "32 missing: layer1.0.se.fc1.weight, layer1.0.se.fc1.bias, " in caught.value.message
    assert caught.value.message.endswith("layer2.0.se.fc1.bias and 22 more")
    assert "\n" not in str(caught.value)


def test_another_size_is_named() -> None:
    state = bare("timm:seresnet18", {})
    state["layer2.0.conv2.weight"] = torch.empty(128, 64, 3, 3)
    with pytest.raises(LoadError, match="1 of another size: layer2.0.conv2.weight is 128x64x3x3, wanted 128x128x3x3"):
        recognise("x.pt", state, None, None)


def test_unknown_keys_name_the_way_out() -> None:
    with pytest.raises(LoadError, match="no network known here has its 2 keys .a.weight, b.weight") as caught:
        recognise("x.pt", {"a.weight": torch.empty(3, 3), "b.weight": torch.empty(3)}, None, None)
    assert "--arch" in caught.value.hint


def test_an_unknown_architecture_suggests_near_ones() -> None:
    with pytest.raises(LoadError, match="did you mean seresnet50"):
        recognise("x.pt", bare("timm:seresnet18", {}), "seresnet5", None)


def test_counters_and_auxiliary_heads_do_not_matter(tmp_path: Path) -> None:
    source = shake(build("timm:seresnet18", num_classes=4), 4, 3, 64, 64)
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    state |= {"aux_head.fc.weight": torch.ones(3, 3), "layer1.0.total_ops": torch.ones(1)}
    torch.save(state, tmp_path / "weights.pt")
    network = load(str(tmp_path / "weights.pt"))
    assert equal(network.module, source)
    assert network.notes == ("left out: aux_head.fc.weight, layer1.0.total_ops",)


def test_a_dense_layer_may_be_written_as_a_convolution(tmp_path: Path) -> None:
    source = shake(build("timm:seresnet18", num_classes=4), 4, 3, 64, 64)
    state = source.state_dict()
    state["fc.weight"] = state["fc.weight"][:, :, None, None]
    state |= {key: value.flatten(1) for key, value in state.items() if ".se." in key and key.endswith("weight")}
    torch.save(state, tmp_path / "weights.pt")
    assert equal(load(str(tmp_path / "weights.pt")).module, source)
