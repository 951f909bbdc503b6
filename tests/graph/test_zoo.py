"""A network of each family of timm and torchvision, by both exporters: as many blocks found as SE modules ran, and equal graphs.

`python -m benchmarks.zoo` does the same for every architecture and writes docs/zoo.md.
"""

import pytest
from torch import Tensor, nn

from benchmarks.zoo.check import check
from benchmarks.zoo.models import executed, network

#: The smallest of its family, and how many SE modules run in it.
FAMILIES = {
    "timm:cs3sedarknet_l": 21,
    "timm:cspnext_tiny": 4,
    "timm:efficientnet_b0": 16,
    "timm:efficientnet_b0_gn": 16,
    "timm:efficientnetv2_rw_t": 29,
    "timm:efficientvim_m1": 2,
    "timm:efficientvit_m0": 2,
    "timm:ese_vovnet19b_slim_dw": 4,
    "timm:fastvit_mci0": 3,
    "timm:fbnetv3_b": 18,
    "timm:gcvit_xxtiny": 11,
    "timm:ghostnet_050": 7,
    "timm:ghostnetv2_100": 7,
    "timm:ghostnetv3_050": 7,
    "timm:hardcorenas_a": 8,
    "timm:hgnet_tiny": 5,
    "timm:lcnet_035": 2,
    "timm:lcnetv2_small": 4,
    "timm:legacy_seresnet18": 8,
    "timm:legacy_seresnext26_32x4d": 8,
    "timm:mixnet_s": 13,
    "timm:mnasnet_small": 10,
    "timm:mobilenetv3_small_050": 9,
    "timm:mobileone_s4": 12,
    "timm:nf_regnet_b0": 16,
    "timm:nf_seresnet26": 8,
    "timm:rdnet_tiny": 15,
    "timm:regnetv_040": 22,
    "timm:regnety_002": 13,
    "timm:regnetz_005": 21,
    "timm:repghostnet_050": 7,
    "timm:repvit_m0_9": 10,
    "timm:resnetrs50": 16,
    "timm:rexnet_100": 13,
    "timm:rexnetr_100": 13,
    "timm:sedarknet21": 7,
    "timm:semnasnet_050": 8,
    "timm:seresnet18": 8,
    "timm:seresnext26ts": 8,
    "timm:shvit_s1": 2,
    "timm:test_coatnet": 2,
    "timm:test_maxvit": 4,
    "timm:test_nfnet": 4,
    "timm:tf_efficientnetv2_b0": 16,
    "timm:tf_mixnet_s": 13,
    "timm:tf_mobilenetv3_small_075": 9,
    "timm:tinynet_e": 10,
    "torchvision:efficientnet_b0": 16,
    "torchvision:mobilenet_v3_small": 9,
    "torchvision:regnet_y_400mf": 16,
}


@pytest.fixture(scope="module", params=FAMILIES)
def built(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, int]:
    return (*network(request.param), FAMILIES[request.param])


def test_counts_are_what_the_network_executes(built: tuple[nn.Module, Tensor, int]) -> None:
    module, example, blocks = built
    assert executed(module, example) == blocks


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_every_block_is_found_and_the_graphs_are_equal(built: tuple[nn.Module, Tensor, int], exporter: str) -> None:
    module, example, blocks = built
    outcome = check(module, example, exporter, tolerance=1e-5)
    assert outcome.failure is None
    assert outcome.found == blocks
    # Above 1e-5 of the range only where the network itself moves as far for a unit in the last place of its input.
    assert outcome.error <= max(1e-5, 3 * (outcome.ulp or 0.0))
    assert outcome.error < 1e-3
