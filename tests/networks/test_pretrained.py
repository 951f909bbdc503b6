"""Networks by their library's name: seeded random weights, and published ones where there is no network."""

import socket
from typing import Any

import pytest
import torch
from torch import nn

from se_deploy.errors import LoadError
from se_deploy.networks.gates import gates
from se_deploy.networks.load import load

NAMES = ["timm:seresnet18", "timm:mobilenetv3_small_100", "timm:efficientnet_b0", "timm:regnety_002", "torchvision:mobilenet_v3_small"]


@pytest.mark.parametrize("name", NAMES)
def test_random_networks_behave_like_trained_ones(name: str) -> None:
    network = load(name, random=True, num_classes=10)
    noise = torch.Generator().manual_seed(7)
    images = torch.randn(8, 3, 96, 96, generator=noise) * torch.linspace(0.2, 1.5, 8)[:, None, None, None]
    seen: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    norms = [layer for layer in network.module.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [layer.register_forward_hook(lambda _m, _i, out: seen.append(out)) for layer in norms]
    for gate in gates(network.module):
        layer = network.module.get_submodule(f"{gate.name}.{gate.expand}")
        hooks.append(layer.register_forward_hook(lambda _m, _i, out: logits.append(out.flatten())))
    with torch.inference_mode():
        scores = network.module(images)
    for hook in hooks:
        hook.remove()
    assert scores.shape == (8, 10)
    assert scores.isfinite().all()
    assert 0.2 < scores.std() < 100
    assert len(set(scores.argmax(1).tolist())) >= 3
    assert all(0.02 < value.std() < 100 and value.abs().max() < 2000 for value in seen)
    assert len(logits) >= 5
    assert 0.5 < torch.cat(logits).std() < 10
    assert all(0.1 < layer.weight.mean() < 2 and layer.weight.std() > 0.05 for layer in norms)


def test_the_seed_settles_them() -> None:
    def weights(**kwargs: Any) -> torch.Tensor:
        state = load("timm:seresnet18", random=True, num_classes=4, **kwargs).module.state_dict()
        return torch.cat([value.flatten().float() for value in state.values()])

    before = torch.random.get_rng_state()
    assert torch.equal(weights(), weights(seed=0))
    assert not torch.equal(weights(), weights(seed=1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_goes_with_them() -> None:
    network = load("timm:rexnet_100", random=True, num_classes=3)
    assert (network.arch, network.kwargs, network.input_size) == ("timm:rexnet_100", {"num_classes": 3}, (3, 224, 224))
    assert network.preprocess is not None
    assert network.preprocess.interpolation == "bicubic"
    assert network.notes == ("random weights, seed 0: its answers mean nothing",)
    assert load("ours:se_densenet121", random=True, num_classes=3).preprocess is None


def offline(*_args: Any, **_kwargs: Any) -> Any:
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize("name", ["timm:seresnet50", "timm:legacy_senet154", "torchvision:efficientnet_b0"])
def test_without_a_network_the_error_names_random(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(LoadError) as caught:
        load(name)
    assert caught.value.message.startswith(f"the weights of {name} cannot be fetched: no network to ")
    assert "--random" in caught.value.hint


@pytest.mark.parametrize("name", ["timm:seresnet18", "ours:se_densenet121"])
def test_names_without_published_weights(name: str) -> None:
    with pytest.raises(LoadError, match=f"no weights are published for {name}; take random weights with --random"):
        load(name)


@pytest.mark.parametrize("name", ["timm:seresnet51", "torchvision:seresnet50", "timm:", "timm:seresnet50.nothing", "ours:x"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(LoadError, match="no network is called"):
        load(name, random=True)
