from __future__ import annotations

import pytest
import timm
import torch

from se_deploy.networks.dialects import translate
from tests.networks.dialects.agreement import agreed
from tests.networks.dialects.sources import MoskomuleCifar, moskomule_resnet


@pytest.mark.parametrize(
    ("bottlenecks", "layers", "arch"),
    [
        (False, (2, 2, 2, 2), "timm:seresnet18"),
        (False, (3, 4, 6, 3), "timm:seresnet34"),
        (True, (3, 4, 6, 3), "timm:seresnet50"),
    ],
)
def test_agrees(bottlenecks: bool, layers: tuple[int, ...], arch: str) -> None:
    found = agreed(moskomule_resnet(bottlenecks, layers, num_classes=37), 2, 3, 64, 64)
    assert found.arch == arch
    assert found.preprocess is None
    assert ("se_reduced" in found.kwargs) == (not bottlenecks)  # timm's narrowest block has 8 reduced channels, moskomule's 4
    assert {key: found.kwargs[key] for key in ("num_classes", "in_chans")} == {"num_classes": 37, "in_chans": 3}


@pytest.mark.parametrize(("layers", "depth"), [((3, 4, 6, 3), 50), ((3, 4, 23, 3), 101), ((3, 8, 36, 3), 152)])
def test_sixteenths_of_bottlenecks_are_timms_own(layers: tuple[int, ...], depth: int) -> None:
    with torch.device("meta"):
        found = translate(moskomule_resnet(True, layers).state_dict())
        assert found is not None
        timm.create_model(f"seresnet{depth}").load_state_dict(found.state, strict=True, assign=True)
    assert found.arch == f"timm:seresnet{depth}"
    assert found.kwargs == {"num_classes": 1000, "in_chans": 3}


@pytest.mark.parametrize("reduction", [4, 7, 32])
@pytest.mark.parametrize("bias", [False, True])
def test_any_reduction_and_biases(reduction: int, bias: bool) -> None:
    found = agreed(moskomule_resnet(False, (1, 2, 1, 1), 5, reduction, bias=bias), 2, 3, 64, 64)
    assert found.kwargs["layers"] == [1, 2, 1, 1]
    assert found.kwargs["se_reduced"] == [channels // reduction for channels in (64, 128, 128, 256, 512)]


def test_grey_images_and_an_unusual_depth() -> None:
    found = agreed(moskomule_resnet(True, (1, 1, 11, 1), 2, in_chans=1), 2, 1, 64, 64)
    assert found.arch == "timm:seresnet50"
    assert found.kwargs == {"num_classes": 2, "in_chans": 1, "layers": [1, 1, 11, 1]}


def test_absent_biases_become_zeros() -> None:
    found = translate(moskomule_resnet(False, (1, 1, 1, 1)).state_dict())
    assert found is not None
    biases = {key: value for key, value in found.state.items() if ".se." in key and key.endswith("bias")}
    assert len(biases) == 8
    assert not any(bool(value.any()) for value in biases.values())


def test_features_only() -> None:
    net = moskomule_resnet(False, (1, 1, 1, 1))
    net.fc = torch.nn.Identity()
    assert agreed(net, 2, 3, 64, 64).kwargs["num_classes"] == 0


@pytest.mark.parametrize(("blocks", "reduction"), [(3, 16), (2, 8)])
def test_cifar(blocks: int, reduction: int) -> None:
    found = agreed(MoskomuleCifar(blocks, 12, reduction), 2, 3, 32, 32)
    assert found.arch == "ours:se_resnet_cifar"
    assert found.kwargs["layers"] == [blocks] * 3
    assert ("se_reduced" in found.kwargs) == (reduction != 16)
