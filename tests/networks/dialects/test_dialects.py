from __future__ import annotations

import pytest
import timm
import torch
import torchvision

from se_deploy.networks import zoo
from se_deploy.networks.dialects import translate

TIMM = ["seresnet50", "legacy_seresnet50", "legacy_senet154", "tf_efficientnet_b0", "mobilenetv3_small_100", "regnety_002", "densenet121"]


@pytest.mark.parametrize("name", TIMM)
def test_timms_own_keys_are_no_dialect(name: str) -> None:
    with torch.device("meta"):
        assert translate(timm.create_model(name).state_dict()) is None


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf"])
def test_torchvisions_keys_are_no_dialect(name: str) -> None:
    assert translate(torchvision.models.get_model(name).state_dict()) is None


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_the_zoos_keys_are_no_dialect(name: str) -> None:
    with torch.device("meta"):
        assert translate(zoo.BUILDERS[name]().state_dict()) is None


def test_nothing_is_no_dialect() -> None:
    assert translate({}) is None
