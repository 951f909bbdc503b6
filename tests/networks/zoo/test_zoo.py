from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import SEModule
from torch import nn

from se_deploy.networks import zoo
from se_deploy.networks.zoo.se import fitting_reduction, squeeze_excite
from tests.networks.shaking import shake
from tests.networks.zoo.counting import count_macs, se_blocks

#: name -> SE blocks, multiply-adds without and with them at the size the network was made for.
COUNTS = {
    "se_bn_inception": (10, 2_032_600_064, 2_035_600_832),
    "se_inception_resnet_v2": (40, 13_155_794_016, 13_187_369_056),
    "se_densenet121": (61, 2_834_161_664, 2_836_720_896),
    "se_densenet169": (85, 3_359_843_328, 3_362_587_136),
    "se_densenet201": (101, 4_291_365_888, 4_294_386_688),
    "se_resnet_cifar": (9, 40_813_184, 40_987_232),
}

SOME = ["se_bn_inception", "se_densenet121", "se_inception_resnet_v2", "se_resnet_cifar"]


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_multiply_adds_and_blocks(name: str) -> None:
    build, size = zoo.BUILDERS[name], zoo.INPUT_SIZES[name]
    plain, net = build(reduction=None), build()
    assert (se_blocks(net), count_macs(plain, size), count_macs(net, size)) == COUNTS[name]
    assert se_blocks(plain) == 0


def test_bn_inception_counts_what_the_paper_counts() -> None:
    _, plain, with_se = COUNTS["se_bn_inception"]
    assert (round(plain / 1e9, 2), round(with_se / 1e9, 2)) == (2.03, 2.04)


@pytest.mark.parametrize("name", zoo.BUILDERS)
@pytest.mark.parametrize(("classes", "channels", "reduction"), [(7, 1, 8), (12, 4, 7)])
def test_recognised_from_keys_and_shapes(name: str, classes: int, channels: int, reduction: int) -> None:
    arguments = {"num_classes": classes, "in_chans": channels, "reduction": reduction}
    with torch.device("meta"):
        state = zoo.BUILDERS[name](**arguments).state_dict()
    extra = {"layers": [3, 3, 3]} if name == "se_resnet_cifar" else {}
    assert zoo.recognise(state) == (name, arguments | extra)


def test_depth_is_recognised() -> None:
    with torch.device("meta"):
        state = zoo.BUILDERS["se_resnet_cifar"](layers=(2, 11, 1)).state_dict()
    found = zoo.recognise(dict(sorted(state.items())))
    assert found is not None
    assert found[1]["layers"] == [2, 11, 1]


@pytest.mark.parametrize("name", SOME)
def test_what_is_recognised_computes_the_same(name: str) -> None:
    source = shake(zoo.BUILDERS[name](num_classes=5, reduction=4), 8, 3, 96, 96)
    found = zoo.recognise(source.state_dict())
    assert found is not None
    built = zoo.BUILDERS[found[0]](**found[1]).eval()
    built.load_state_dict(source.state_dict())
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = source(x)
        assert torch.equal(built(x), expected)
    assert expected.std() > 0.01


@pytest.mark.parametrize("name", SOME)
def test_every_block_takes_part(name: str) -> None:
    """A gate set to zero anywhere changes what the network answers."""
    net = shake(zoo.BUILDERS[name](num_classes=5), 8, 3, 96, 96)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    ran: list[nn.Module] = []
    blocks = [module for module in net.modules() if isinstance(module, SEModule)]
    for block in blocks:
        block.register_forward_hook(lambda module, _inputs, _output: ran.append(module))
    with torch.no_grad():
        expected = net(x)
        assert ran == blocks
        for block in (blocks[0], blocks[len(blocks) // 2], blocks[-1]):
            kept = block.fc2.bias.clone()
            block.fc2.bias.fill_(-1e4)
            assert float((net(x) - expected).abs().max()) > 1e-3 * float(expected.abs().max())
            block.fc2.bias.copy_(kept)


def test_without_blocks_bn_inception_is_recognised_as_such() -> None:
    with torch.device("meta"):
        state = zoo.BUILDERS["se_bn_inception"](reduction=None).state_dict()
    assert zoo.recognise(state) == ("se_bn_inception", {"num_classes": 1000, "in_chans": 3, "reduction": None})


@pytest.mark.parametrize("name", ["densenet121", "inception_resnet_v2", "seresnet18", "efficientnet_b0"])
def test_timms_networks_are_not_ours(name: str) -> None:
    with torch.device("meta"):
        assert zoo.recognise(timm.create_model(name).state_dict()) is None
    assert zoo.recognise({}) is None


def test_reduction_that_fits() -> None:
    assert fitting_reduction([(608, 38), (256, 16)]) == 16
    assert fitting_reduction([(256, 36), (64, 9)]) == 7
    assert fitting_reduction([(64, 1), (32, 1), (128, 2)]) == 43  # 128 // 43 = 2, the others at least 1
    assert fitting_reduction([(64, 16), (256, 16)]) is None
    assert fitting_reduction([]) is None


def test_a_block_narrower_than_the_reduction_keeps_one_channel() -> None:
    block = squeeze_excite(8, 16)
    assert isinstance(block, SEModule)
    assert block.fc1.weight.shape == (1, 8, 1, 1)
