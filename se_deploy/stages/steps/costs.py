"""A network's cost on a device, from its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto

from se_deploy.artifacts import Precision
from se_deploy.graph.find import Found
from se_deploy.graph.work import work
from se_deploy.insight.devices import device
from se_deploy.insight.predict import CostReport, predict, saved_us


def predicted(
    model: ModelProto, found: Found, sizes: Mapping[str, Sequence[int]], target: str, precision: Precision, batch: int
) -> CostReport:
    """What the model's SE blocks cost on a target, fused and not.

    Raises:
        BackendError: no device is known for the target.
    """
    counted = work(model, found, sizes)
    return predict(counted.blocks, counted.nodes, device(target), precision, batch)


def savings(
    model: ModelProto, found: Found, sizes: Mapping[str, Sequence[int]], target: str, precision: Precision, batch: int
) -> dict[str, float]:
    """Microseconds that folding each block saves on a target, predicted.

    Raises:
        BackendError: no device is known for the target.
    """
    return {block.name: saved_us(block, device(target), precision, batch) for block in work(model, found, sizes).blocks}
