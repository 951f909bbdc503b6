"""What of benchmarks/kernels can be checked without a GPU: which blocks it measures, what it says here, and PyTorch's side of it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.kernels import blocks, shapes
from se_deploy import op
from tests.plugins.compiling import ROOT

#: The different SE maps at 224x224, and the first and the last of them.
EXPECTED = {
    "SE-ResNet-50": (4, shapes.Block(256, 16, 56, 56), shapes.Block(2048, 128, 7, 7)),
    "EfficientNet-B0": (10, shapes.Block(32, 8, 112, 112), shapes.Block(1152, 48, 7, 7)),
    "MobileNetV3-large": (6, shapes.Block(72, 24, 28, 28), shapes.Block(960, 240, 7, 7)),
    "SENet-154": (4, shapes.Block(256, 16, 56, 56), shapes.Block(2048, 128, 7, 7)),
}


@pytest.mark.parametrize("network", shapes.NETWORKS, ids=lambda network: network.title)
def test_the_blocks_are_those_of_the_network(network: shapes.Network) -> None:
    found = shapes.blocks_of(network)
    assert (len(found), found[0], found[-1]) == EXPECTED[network.title]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.kernels"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: this needs an NVIDIA GPU, PyTorch sees none; nothing was measured\n"


@pytest.mark.parametrize("network", shapes.NETWORKS, ids=lambda network: network.title)
@pytest.mark.parametrize("int8", [False, True])
def test_the_block_given_to_torch_compile_is_the_node(network: shapes.Network, int8: bool) -> None:
    rng = np.random.default_rng(0)
    residual = ("add", "relu") if network.residual else ("none", "none")
    variant = op.Variant(network.act, network.gate, *residual, int8=int8)

    def large() -> np.ndarray:
        return rng.integers(-128, 128, (2, 8, 5, 7), np.int8) if int8 else rng.standard_normal((2, 8, 5, 7)).astype(np.float16)

    sizes = {"w1": (3, 8), "b1": (3,), "w2": (8, 3), "b2": (8,)}
    inputs = {name: rng.standard_normal(sizes[name]).astype(np.float32) if name in sizes else large() for name in variant.inputs}
    expected = op.reference(variant, inputs, blocks.attributes(network))
    y = blocks.block(network, int8)({name: torch.from_numpy(value) for name, value in inputs.items()}).numpy()
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.astype(float), expected.astype(float), atol=1 if int8 else 2e-3, rtol=1e-3)
    assert (y == expected).mean() > 0.99
