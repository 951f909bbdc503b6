"""What SE blocks cost on a device that is not at hand: bytes and operations from counted sizes, time from published figures.

A kernel takes as long as its bytes take at the device's bandwidth or its operations at its peak, whichever is longer, and a launch
(Williams, Waterman and Patterson, "Roofline", 2009). Unfused, on a GPU: a pool, two FCs with their curves, and one kernel that scales,
adds and activates, as TensorRT makes them; x is read a second time, from memory where the batch does not fit half of L2. Fused: what
the plugin's kernels move (`roads.py`). The plugin's weights are FP32, the unfused ones of the network's precision. An elementwise
operator behind the block that the node does not take along would be fused with the scaling; behind the plugin it is a kernel of its own.
On a CPU, runtimes run the node's body: fused and unfused are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from se_deploy.artifacts import BlockWork, NodeWork, Precision, Record
from se_deploy.insight import roads
from se_deploy.insight.devices import LAUNCH, Device
from se_deploy.insight.roads import Shape

ELEMENT: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


class Side(Record):
    """A block in one form: bytes from and to memory, operations, kernels, and the time they take."""

    bytes: int
    operations: int
    launches: int
    us: float


class BlockCost(Record):
    """A block both ways. `share` is of the network's latency with this block as it is there, in percent; `road` is the plugin's."""

    name: str
    road: str | None
    fused: Side
    unfused: Side
    share_fused: float
    share_unfused: float
    fuse: bool
    why: str


class CostReport(Record):
    """A network on a device; `network_us` is without its SE blocks."""

    target: str
    device: str
    source: str
    precision: Precision
    batch: int
    network_us: float
    fused_us: float
    unfused_us: float
    share_fused: float
    share_unfused: float
    launches_saved: int
    blocks: tuple[BlockCost, ...]


@dataclass(frozen=True)
class _Both:
    block: BlockWork
    road: str | None
    fused: Side
    unfused: Side


def predict(blocks: Sequence[BlockWork], nodes: Sequence[NodeWork], device: Device, precision: Precision, batch: int) -> CostReport:
    """The report; it is a model, and nothing was run."""
    both = [_both(block, device, precision, batch) for block in blocks]
    network = 1e6 * sum(_seconds(node, device, precision, batch) for node in nodes)
    fused, unfused = (sum(getattr(one, side).us for one in both) for side in ("fused", "unfused"))
    whole, plain = network + fused, network + unfused
    return CostReport(
        target=device.target,
        device=device.name,
        source=device.source,
        precision=precision,
        batch=batch,
        network_us=network,
        fused_us=fused,
        unfused_us=unfused,
        share_fused=100 * fused / whole if whole else 0.0,
        share_unfused=100 * unfused / plain if plain else 0.0,
        launches_saved=sum(one.unfused.launches - one.fused.launches for one in both),
        blocks=tuple(_judged(one, whole, plain) for one in both),
    )


def saved_us(block: BlockWork, device: Device, precision: Precision, batch: int) -> float:
    """What folding a block away saves, predicted: its cost as it is best there, less the addition and the activation, which stay."""
    both = _both(block, device, precision, batch)
    total = batch * block.channels * block.positions * ELEMENT[precision]
    # A GPU's convolution takes them along: the residual is read and y is written all the same.
    maps = 1 + block.residual if device.is_gpu else (3 if block.skip else 0) + (2 if block.epilogue else 0)
    return min(both.fused.us, both.unfused.us) - 1e6 * maps * total / device.bandwidth


def _judged(one: _Both, whole: float, plain: float) -> BlockCost:
    fuse = one.fused.us <= one.unfused.us
    return BlockCost(
        name=one.block.name,
        road=one.road,
        fused=one.fused,
        unfused=one.unfused,
        share_fused=100 * one.fused.us / whole if whole else 0.0,
        share_unfused=100 * one.unfused.us / plain if plain else 0.0,
        fuse=fuse,
        why=_why(one, fuse),
    )


def _why(one: _Both, fuse: bool) -> str:
    if one.road is None:
        return "the runtime runs the node's body: nothing changes"
    more, launches = one.fused.bytes - one.unfused.bytes, one.unfused.launches - one.fused.launches
    change = f"{abs(more):,} bytes {'more' if more > 0 else 'fewer'}, {_launches(launches)}"
    if fuse:
        return change
    reason = "an elementwise operator behind it needs a kernel of its own" if one.block.followed else "its weights are FP32 in the plugin"
    return f"{change}: {reason}"


def _launches(fewer: int) -> str:
    if not fewer:
        return "as many launches"
    return f"{abs(fewer)} launch{'es' * (abs(fewer) > 1)} {'fewer' if fewer > 0 else 'more'}"


def _both(block: BlockWork, device: Device, precision: Precision, batch: int) -> _Both:
    element = ELEMENT[precision]
    shape = Shape(batch, block.channels, block.reduced, block.positions, element, block.residual)
    operations = _operations(block, batch)

    def side(size: int, launches: int) -> Side:
        seconds = max(size / device.bandwidth, operations / device.peak["fp32"]) + launches * LAUNCH * device.is_gpu
        return Side(bytes=size, operations=operations, launches=launches, us=1e6 * seconds)

    if not device.is_gpu:
        plain = side(*_on_cpu(block, shape))
        return _Both(block, None, plain, plain)
    moved = roads.moved(shape, device)
    # A follower that is a kernel of its own reads y (from L2 where it fits), which had to be written for it unless others read it anyway.
    total = shape.n * shape.image
    passes = (total > device.cache // 2) + (not block.read_elsewhere)
    again = total * passes * block.followed
    fused = side(moved.memory + shape.weights + again, moved.launches + block.followed)
    return _Both(block, moved.road, fused, side(*_unfused(block, shape, device)))


def _vectors(block: BlockWork, shape: Shape) -> int:
    """Elements that pass between the kernels of an unfused block: pooled, hidden and gates, written and read."""
    return 2 * shape.n * (2 * block.channels + (block.reduced or 0))


def _unfused(block: BlockWork, shape: Shape, device: Device) -> tuple[int, int]:
    """Bytes and launches as TensorRT makes them."""
    total = shape.n * shape.image
    x = total if total <= device.cache // 2 else 2 * total
    weights = shape.weights // 4 * shape.element
    layers = 1 if block.reduced is None else 2
    return x + total * block.residual + total + weights + _vectors(block, shape) * shape.element, 2 + layers


def _on_cpu(block: BlockWork, shape: Shape) -> tuple[int, int]:
    """Bytes and kernels of a runtime that takes operator by operator: pool, FCs, Mul, Add, activation."""
    total = shape.n * shape.image
    maps = 1 + 2 + (3 if block.skip else 0) + (2 if block.epilogue else 0)
    layers = 1 if block.reduced is None else 2
    kernels = 2 + 2 * layers + block.skip + block.epilogue
    return maps * total + shape.weights + _vectors(block, shape) * shape.element, kernels


def _operations(block: BlockWork, batch: int) -> int:
    """Sums of the pool, products and sums of the FCs, a product an element, a sum for the skip, one for the activation."""
    columns = block.channels if block.reduced is None else block.reduced
    layers = 1 if block.reduced is None else 2
    per_element = 2 + block.skip + block.epilogue
    return batch * (per_element * block.channels * block.positions + 2 * layers * block.channels * columns)


def _seconds(node: NodeWork, device: Device, precision: Precision, batch: int) -> float:
    """A layer by the roofline; a pointwise operator goes along with the layer before it, but for a second operand that it reads."""
    element = ELEMENT[precision]
    if node.kind == "pointwise":
        return batch * max(node.read - node.written, 0) * element / device.bandwidth
    size = (batch * (node.read + node.written) + node.weights) * element
    peak = device.peak[precision]
    return max(size / device.bandwidth, 2 * batch * node.macs / peak) + LAUNCH * device.is_gpu
