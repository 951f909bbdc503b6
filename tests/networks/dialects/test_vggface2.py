from __future__ import annotations

import pytest
import torch

from se_deploy.errors import LoadError
from se_deploy.images import preset
from se_deploy.networks.dialects import translate
from tests.networks.dialects.agreement import agreed
from tests.networks.dialects.sources import CaffeSENet, CydoniaSENet


@pytest.mark.parametrize(("slash", "bn"), [("/", "/bn"), ("_", "_bn")])
def test_both_spellings(slash: str, bn: str) -> None:
    found = agreed(CaffeSENet(slash, bn), 2, 3, 64, 64)
    assert found.arch == "timm:legacy_seresnet50"
    assert found.kwargs == {"num_classes": 8631, "in_chans": 3}
    assert found.preprocess == preset("vggface2", 224, 224)
    assert found.preprocess.color == "BGR"


@pytest.mark.parametrize(("slash", "bn"), [("_", "/bn"), ("/", "_bn")])
def test_mixed_spellings(slash: str, bn: str) -> None:
    """The paper's authors' own prototxts, for one: conv2_1_1x1_reduce/bn."""
    with torch.device("meta"):
        pure, mixed = (translate(CaffeSENet(*marks).state_dict()) for marks in (("/", "/bn"), (slash, bn)))
    assert pure is not None
    assert mixed is not None
    assert list(mixed.state) == list(pure.state)


def test_at_the_size_it_was_trained_for() -> None:
    agreed(CaffeSENet("/", "/bn", num_classes=8), 2, 3, 224, 224)


def test_scale_layers_of_their_own() -> None:
    agreed(CaffeSENet("_", "/bn", num_classes=12, scale=True), 2, 3, 64, 64)


def test_features_only() -> None:
    assert agreed(CaffeSENet("_", "_bn", head=""), 2, 3, 64, 64).kwargs["num_classes"] == 0


def test_an_embedding_is_the_last_layer() -> None:
    assert agreed(CaffeSENet("_", "_bn", 256, head="feat_extract"), 2, 3, 64, 64).kwargs["num_classes"] == 256


def test_the_papers_own_networks_see_imagenets_mean() -> None:
    with torch.device("meta"):
        found = translate(CaffeSENet("_", "/bn", 1000, (3, 8, 36, 3)).state_dict())
    assert found is not None
    assert found.arch == "timm:legacy_seresnet152"
    assert found.preprocess == preset("vggface2", 224, 224).model_copy(update={"mean": (104.0, 117.0, 123.0)})


def test_files_without_counters_load() -> None:
    source = CaffeSENet("/", "/bn", 5)
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    found = translate(state)
    assert found is not None
    assert len(found.state) == len(state)


def test_refused_where_two_layers_could_be_the_last() -> None:
    source = CaffeSENet("/", "/bn", 5, (1, 1, 1, 1))
    source.add_module("feat_extract", torch.nn.Conv2d(2048, 256, 1))
    with pytest.raises(LoadError, match="feat_extract and classifier"):
        translate(source.state_dict())


def test_refused_where_timm_has_no_such_depth() -> None:
    with pytest.raises(LoadError, match=r"\(1, 1, 1, 1\)"):
        translate(CaffeSENet("/", "/bn", 5, (1, 1, 1, 1)).state_dict())


def test_cydonias_names() -> None:
    found = agreed(CydoniaSENet(), 2, 3, 64, 64)
    assert found.arch == "timm:legacy_seresnet50"
    assert found.kwargs == {"num_classes": 8631, "in_chans": 3}
    assert found.preprocess == preset("vggface2", 224, 224)
