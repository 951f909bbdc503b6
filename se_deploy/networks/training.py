"""Training a small classifier, for the networks that are trained here: the demo's, and those of benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from se_deploy.artifacts import Progress


@dataclass(frozen=True)
class Schedule:
    """Adam with a one-cycle schedule whose peak is `rate`; `smoothing` of the labels."""

    epochs: int
    batch: int
    rate: float
    smoothing: float


def fit(
    network: nn.Module, pixels: Tensor, labels: Tensor, how: Schedule, moved: Callable[[Tensor], Tensor], progress: Progress, what: str
) -> None:
    """Trains `network`, in place, in an order that torch's seed draws.

    Args:
        network: gives (N, classes) scores; left in training mode.
        pixels: (images, C, H, W), normalised, and `labels`: (images,), int64.
        how: the schedule.
        moved: a batch as it is shown.
        progress: called after each step, with `what`.
    """
    steps = how.epochs * -(-len(pixels) // how.batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=how.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=how.rate, total_steps=steps)
    network.train()
    done = 0
    for _ in range(how.epochs):
        for chosen in torch.split(torch.randperm(len(pixels)), how.batch):
            scores = network(moved(pixels[chosen]))
            loss = nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=how.smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            progress(what, done, steps)


def shifted(batch: Tensor) -> Tensor:
    """The batch (N, C, H, W) moved by up to 2 pixels, the border repeated."""
    y, x = (int(v) for v in torch.randint(0, 5, (2,)))
    height, width = batch.shape[2:]
    return nn.functional.pad(batch, (2, 2, 2, 2), mode="replicate")[:, :, y : y + height, x : x + width]
