"""Weights in the dicts, modules and prefixes that training scripts leave them in."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from se_deploy.errors import LoadError
from se_deploy.networks.unwrap import unwrap

KEYS = ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.se.fc1.weight", "layer1.0.bn1.running_mean", "fc.weight", "fc.bias")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.")


def weights(value: float = 1.0) -> dict[str, Tensor]:
    return {key: torch.full((2, 2), float(value)) for key in KEYS}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def value_of(state: dict[str, Tensor]) -> set[float]:
    return {float(value.mean()) for value in state.values()}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_prefixes_in_every_combination(count: int) -> None:
    for chosen in itertools.permutations(PREFIXES, count):
        found = unwrap("x.pt", prefixed("".join(chosen), weights()))
        assert tuple(found.state) == KEYS
        said = "".join(chosen).replace("_orig_mod.", "")  # a mark of torch.compile, wherever it stands
        assert found.notes == ([f"prefix {said} taken off the keys"] if said else [])


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net", "params", "anything"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_raw_weights_in_a_dict(key: str, prefix: str) -> None:
    found = unwrap("x.pt", {key: prefixed(prefix, weights()), "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}})
    assert tuple(found.state) == KEYS
    assert found.notes[0] == f"raw weights taken ({key}); the file has no EMA weights"
    assert found.fields["epoch"] == 3


@pytest.mark.parametrize("key", ["ema", "state_dict_ema", "model_ema", "params_ema", "ema_state_dict", "ema_model"])
@pytest.mark.parametrize("prefix", ["", "module.", "ema_model.module."])
def test_ema_weights_are_preferred(key: str, prefix: str) -> None:
    found = unwrap("x.pt", {"state_dict": weights(1), key: prefixed(prefix, weights(2))})
    assert tuple(found.state) == KEYS
    assert value_of(found.state) == {2.0}
    assert found.notes[0] == f"EMA weights taken ({key})"


def test_dicts_in_dicts() -> None:
    found = unwrap("x.pt", {"model": {"ema": {"decay": 0.99, "module": prefixed("module.", weights(2))}, "net": weights(1)}, "epoch": 1})
    assert value_of(found.state) == {2.0}
    assert found.notes == ["EMA weights taken (model.ema.module)", "prefix module. taken off the keys"]


def test_an_ema_of_parameters_takes_the_statistics_from_the_raw_weights() -> None:
    average = {key: value for key, value in weights(2).items() if "running" not in key}
    found = unwrap("x.pt", {"state_dict": prefixed("module.", weights(1)), "ema": average})
    assert {key: float(value.mean()) for key, value in found.state.items()} == {key: 1.0 if "running" in key else 2.0 for key in KEYS}
    assert "the EMA weights lack 1 tensors, taken from the raw ones" in found.notes


def test_an_ema_without_names_is_passed_over() -> None:
    found = unwrap("x.pt", {"state_dict": weights(1), "ema": {"decay": 0.9, "shadow_params": [torch.ones(2)]}})
    assert value_of(found.state) == {1.0}


@pytest.mark.parametrize(("raw", "ema"), [("model.", "ema_model.module."), ("online_model.", "ema_model."), ("", "model_ema.module.")])
def test_ema_and_raw_weights_in_one_state_dict(raw: str, ema: str) -> None:
    found = unwrap("x.pt", {"state_dict": prefixed(raw, weights(1)) | prefixed(ema, weights(2))})
    assert set(found.state) == set(KEYS)
    assert value_of(found.state) == {2.0}
    assert found.notes[0] == "EMA weights taken (state_dict)"


def test_a_prefix_of_most_keys_leaves_the_head_that_lacks_it() -> None:
    body = {key: value for key, value in weights().items() if not key.startswith("fc")}
    head = {key: value for key, value in weights().items() if key.startswith("fc")}
    many = {f"layer2.{i}.conv1.weight": torch.ones(2, 2) for i in range(8)}
    found = unwrap("x.pt", prefixed("backbone.module.", body | many) | head)
    assert set(found.state) == set(KEYS) | set(many)


def test_a_prefix_is_kept_where_taking_it_off_would_merge_keys() -> None:
    state = prefixed("model.", weights()) | {"fc.bias": torch.ones(2)}
    assert set(unwrap("x.pt", state).state) == set(state)


def test_compiled_parts_inside() -> None:
    assert "layer1.0.conv1.weight" in unwrap("x.pt", {"layer1._orig_mod.0.conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)}).state


def test_modules_and_arrays() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
            self.register_buffer("scratch", torch.ones(1), persistent=False)
            self.fc = nn.Linear(4, 2)

    net = Net()
    found = unwrap("x.pt", {"model": nn.DataParallel(net), "epoch": 1})
    assert found.module is not None
    assert set(found.state) == set(net.state_dict())
    arrays = {"a.weight": np.ones((2, 2), np.float32), "b.weight": np.zeros(2, np.float32)}
    assert value_of(unwrap("x.pt", arrays).state) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"epoch": 1, "optimizer": {"w.x": torch.ones(1)}}, "x.pt holds no weights"),
        ({}, "x.pt holds no weights"),
        (torch.ones(3), "x.pt holds no weights but a Tensor"),
        ([1, 2], "x.pt holds no weights but a list"),
        ({"generator": weights(), "discriminator": weights()}, "x.pt holds several sets of weights: generator, discriminator"),
    ],
)
def test_what_holds_no_weights(value: Any, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        unwrap("x.pt", value)
    assert caught.value.message == message
