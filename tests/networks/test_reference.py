"""PyTorch's answers: by name, a row for each image, finite, and the weights that give them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from se_deploy.errors import ExportError
from se_deploy.networks.reference import answer, check_finite
from se_deploy.networks.weights import save_weights
from tests.networks import planted

IMAGES = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)


class Gives(nn.Module):
    """Whatever `make` makes of the images."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(x)


def test_one_output() -> None:
    net = planted.Net().eval()
    ((name, values),) = answer(net, IMAGES).items()
    assert name == "output"
    np.testing.assert_array_equal(values, net(torch.from_numpy(IMAGES)).detach().numpy())


def test_several_outputs_in_order() -> None:
    outputs = answer(Gives(lambda x: {"a": x + 1, "b": (None, [x * 2, x.mean((1, 2, 3))])}), IMAGES)
    assert [(name, values.shape) for name, values in outputs.items()] == [
        ("output_0", (3, 3, 32, 32)),
        ("output_1", (3, 3, 32, 32)),
        ("output_2", (3,)),
    ]
    np.testing.assert_array_equal(outputs["output_1"], IMAGES * 2)


def test_a_network_that_changes_its_input_changes_a_copy() -> None:
    before = IMAGES.copy()
    np.testing.assert_array_equal(answer(Gives(lambda x: x.add_(1)), IMAGES)["output"], before + 1)
    np.testing.assert_array_equal(IMAGES, before)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda x: x.reshape(1, -1), r"output is \(1, 9216\) for an input of 3x3x32x32"),
        (lambda x: x.mean(), r"output is \(\) for"),
        (lambda x: None, "gives no tensor"),
        (lambda x: x @ torch.ones(7, 7), "fails on an input of 3x3x32x32: .*; name its size with --input"),
    ],
)
def test_answers_that_are_none(make: Any, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        answer(Gives(make), IMAGES)


@pytest.mark.parametrize(
    ("body", "kind"), [(planted.Undefined(), "NaN"), (Gives(lambda x: 1 / (x * 0).abs()), "infinity")], ids=["NaN", "infinity"]
)
def test_what_is_not_finite_is_named(body: nn.Module, kind: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Identity(), nn.BatchNorm2d(4), body), nn.AvgPool2d(32)).eval()
    with pytest.raises(ExportError, match=f"has {kind} in output, first in 1.2; check the weights"):
        check_finite(net, IMAGES, answer(net, IMAGES))
    assert not any(part._forward_hooks for part in net.modules())


def test_finite_answers_pass() -> None:
    check_finite(nn.Identity(), IMAGES, answer(nn.Identity(), IMAGES))


def test_weights_with_tied_and_sliced_tensors(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net[2].weight = nn.Parameter(torch.randn(8, 4)[::2])
    net.register_buffer("turned", torch.randn(3, 5).t())
    save_weights(net, "ours:mine", {"num_classes": 4}, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert file.metadata() == {"arch": "ours:mine", "kwargs": '{"num_classes": 4}'}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
