"""One SE block in PyTorch, as torch.compile is given it: pool, gate, scale, residual, ReLU; INT8 with dequantize and quantize around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.kernels.shapes import Network

X_SCALE, RESIDUAL_SCALE, Y_SCALE = 0.03, 0.04, 0.05

ACTS = {"relu": F.relu, "silu": F.silu}


def attributes(network: Network) -> dict[str, float]:
    """What the node's attributes are; a variant takes those that it has."""
    scales = {"x_scale": X_SCALE, "residual_scale": RESIDUAL_SCALE, "y_scale": Y_SCALE}
    return {"alpha": network.alpha, "beta": 0.5} | scales


def block(network: Network, int8: bool) -> Callable[[dict[str, Any]], Any]:
    """A function of the tensors by name (as the node's inputs, x of four dimensions) that returns y."""

    def run(t: dict[str, Any]) -> Any:
        x = t["x"].float() * X_SCALE if int8 else t["x"]
        hidden = ACTS[network.act](F.linear(x.float().mean((2, 3)), t["w1"], t["b1"]))
        logits = F.linear(hidden, t["w2"], t["b2"])
        gate = torch.sigmoid(logits) if network.gate == "sigmoid" else torch.clamp(network.alpha * logits + 0.5, 0, 1)
        y = x.float() * gate[:, :, None, None]
        if network.residual:
            y = F.relu(y + t["residual"].float() * (RESIDUAL_SCALE if int8 else 1.0))
        return torch.clamp(torch.round(y / Y_SCALE), -128, 127).to(torch.int8) if int8 else y.to(x.dtype)

    return run
