from __future__ import annotations

import pytest
import torch

from se_deploy.errors import LoadError
from se_deploy.networks.dialects import translate
from tests.networks.dialects.agreement import agreed
from tests.networks.dialects.sources import LUKEMELAS, LukemelasEfficientNet


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_agrees_at_the_size_it_was_made_for(size: int) -> None:
    image = LUKEMELAS[size][2]
    found = agreed(LukemelasEfficientNet(size, num_classes=11), 2, 3, image, image)
    assert found.arch == f"timm:tf_efficientnet_b{size}"
    assert found.kwargs == {"num_classes": 11, "in_chans": 3}


def test_agrees_on_grey_images() -> None:
    assert agreed(LukemelasEfficientNet(0, 3, in_chans=1), 2, 1, 224, 224).kwargs == {"num_classes": 3, "in_chans": 1}


def test_features_only() -> None:
    assert agreed(LukemelasEfficientNet(0, None), 2, 3, 224, 224).kwargs["num_classes"] == 0


def test_the_largest() -> None:
    with torch.device("meta"):
        found = translate(LukemelasEfficientNet(8).state_dict())
    assert found is not None
    assert found.arch == "timm:tf_efficientnet_b8"


def test_refused_where_it_is_no_known_size() -> None:
    net = LukemelasEfficientNet(0)
    del net._blocks[-1]
    with pytest.raises(LoadError, match="15 blocks"):
        translate(net.state_dict())


def test_keys_of_something_else_stay() -> None:
    state = LukemelasEfficientNet(0).state_dict() | {"decoder.weight": torch.zeros(1)}
    found = translate(state)
    assert found is not None
    assert "decoder.weight" in found.state
