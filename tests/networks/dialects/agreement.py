"""Does a translated checkpoint compute what its source module does?"""

from __future__ import annotations

import torch
from torch import nn

from se_deploy.networks.build import build
from se_deploy.networks.dialects import Translation, translate
from tests.networks.shaking import shake


def agreed(source: nn.Module, *shape: int) -> Translation:
    """Translates the shaken `source`, builds what it says, and compares their answers to random images of `shape`.

    In double precision: what the orders of summation of deep networks leave in single precision hides small mistakes.
    """
    shake(source, *shape)
    state = source.state_dict()
    # As files may have it: in alphabetical order, in which layer3.10 comes before layer3.2.
    found = translate(dict(sorted(state.items())))
    assert found is not None
    built = build(found.arch, **found.kwargs)
    built.load_state_dict(found.state, strict=True)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        expected, actual = source.double()(x), built.double()(x)
    spread = float(expected.std())
    assert expected.shape == actual.shape
    assert spread > 0
    assert float((expected - actual).abs().max()) <= 1e-10 * float(expected.abs().max())
    # The images differ in their answers: the signal came through, not the biases alone.
    assert float((expected[0] - expected[1]).abs().max()) > 1e-2 * spread
    return found
