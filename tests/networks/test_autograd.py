"""Autograd-function activations: known by what they compute, replaced while an exporter looks, themselves again afterwards."""

from typing import Any

import pytest
import torch
from timm.layers import activations_me as me
from torch import Tensor, nn

from se_deploy.networks import autograd
from se_deploy.networks.exporting import to_onnx


class SwishImplementation(torch.autograd.Function):
    """As in lukemelas' EfficientNet-PyTorch."""

    @staticmethod
    def forward(ctx: Any, i: Tensor) -> Tensor:
        ctx.save_for_backward(i)
        return i * torch.sigmoid(i)


class MemoryEfficientSwish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return SwishImplementation.apply(x)


class InPlaceRelu6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.mark_dirty(x)
        return x.clamp_(low, high)


class Clamped(nn.Module):
    def __init__(self, *bounds: tuple[float, float]) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        return sum(InPlaceRelu6.apply(x.clone(), *pair) for pair in self.bounds)


class SteepSwish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.02 * x)


class Centred(torch.autograd.Function):
    """A swish on what has no mean: no activation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x) + 1e-3 * x.mean()


class Scaled(torch.autograd.Function):
    """Two tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by: Tensor) -> Tensor:
        return torch.relu(x) * by


class Calls(nn.Module):
    def __init__(self, function: type[torch.autograd.Function], *extra: object) -> None:
        super().__init__()
        self.function, self.extra = function, extra

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x, *self.extra)


def found(module: nn.Module) -> autograd.Found:
    with torch.inference_mode(), autograd.recorded(module) as calls:
        module(torch.randn(2, 3, 8, 8))
    return calls


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (MemoryEfficientSwish(), "SiLU"),
        (me.SwishMe(), "SiLU"),
        (me.MishMe(), "Mish"),
        (me.HardSwishMe(), "Hardswish"),
        (me.HardSigmoidMe(), "Hardsigmoid"),
        (Clamped((0, 6)), "ReLU6"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_known_by_what_it_computes(module: nn.Module, name: str) -> None:
    calls = found(module)
    assert list(calls.plain.values()) == [name]
    assert calls.unknown() == ()


@pytest.mark.parametrize(
    "module",
    [Calls(SteepSwish), Calls(Centred), Calls(Scaled, torch.ones(8)), Clamped((0, 5)), Clamped((0, 6), (-1, 1))],
    ids=["steeper", "not elementwise", "two tensors", "other bounds", "two pairs of bounds"],
)
def test_the_others_are_named_with_their_module(module: nn.Module) -> None:
    calls = found(nn.Sequential(nn.Identity(), nn.Sequential(module)))
    assert calls.plain == {}
    (name,) = calls.unknown()
    assert name.endswith(" in 1.0")


def test_timms_hard_mish_has_no_plain_operator() -> None:
    assert found(me.HardMishMe()).unknown() == ("HardMishAutoFn in the network itself",)


def test_calls_outside_the_block_are_not_recorded() -> None:
    network = nn.Sequential(MemoryEfficientSwish())
    calls = found(network)
    network(torch.ones(1))
    assert calls.modules == {SwishImplementation: ["0"]}
    assert "apply" not in vars(SwishImplementation)
    assert not network[0]._forward_hooks
    assert not network[0]._forward_pre_hooks


def test_a_failing_network_leaves_nothing_behind() -> None:
    before = vars(torch.autograd.Function)["apply"]
    network = nn.Sequential(nn.Conv2d(4, 4, 1))
    with pytest.raises(RuntimeError):
        found(network)
    assert vars(torch.autograd.Function)["apply"] is before
    assert not network[0]._forward_hooks


def test_exported_as_the_plain_operator_and_itself_again() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), me.HardSwishMe(), Calls(SteepSwish)).eval()
    calls = found(network)
    with autograd.replaced(calls) as notes:
        model = to_onnx(network, torch.randn(2, 3, 8, 8), "torchscript")
    assert [node.op_type for node in model.graph.node] == ["Conv", "HardSwish", "Constant", "Mul", "Sigmoid", "Mul"]
    assert notes == ("HardSwishAutoFn (in 1) is Hardswish, to rounding",)
    assert found(network).modules.keys() == {me.HardSwishAutoFn, SteepSwish}


def test_an_apply_of_its_own_comes_back() -> None:
    class Own(torch.autograd.Function):
        @classmethod
        def apply(cls, x: Tensor) -> Tensor:
            return super().apply(x)

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.tanh()

    own = vars(Own)["apply"]
    calls = found(Calls(Own))
    with autograd.replaced(calls):
        assert vars(Own)["apply"] is not own
    assert vars(Own)["apply"] is own
