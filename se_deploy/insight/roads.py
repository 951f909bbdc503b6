"""Which road the plugin takes for a node, and the bytes that it moves there: `plugins/kernels/choose.h` told in Python.

A test runs both on random nodes and devices and holds the road, the launches and every count of bytes equal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from se_deploy.insight.devices import Device

Road = Literal["split", "cluster", "persistent"]

_MOST_POSITIONS = 1 << 23
_SPLIT_THREADS, _CLUSTER_THREADS, _PERSISTENT_THREADS = 256, 256, 512


@dataclass(frozen=True)
class Shape:
    """A node: N images of C channels and `positions` = H * W, R hidden units (None: one FC), `element` bytes a value.

    `atom` is how many channels a layout keeps together: 1 for rows of a channel, 8, 16 or 32 where TensorRT interleaves them.
    """

    n: int
    channels: int
    reduced: int | None
    positions: int
    element: int
    residual: bool
    atom: int = 1

    @property
    def atoms(self) -> int:
        """Groups of channels, the last one padded."""
        return -(-self.channels // self.atom)

    @property
    def image(self) -> int:
        """Bytes of one image of x, padding included."""
        return self.atoms * self.atom * self.positions * self.element

    @property
    def columns(self) -> int:
        """Of w2."""
        return self.channels if self.reduced is None else self.reduced

    @property
    def weights(self) -> int:
        """Bytes of w1 and w2, which are FP32."""
        return 4 * self.channels * self.columns * (1 if self.reduced is None else 2)


@dataclass(frozen=True)
class Moved:
    """Bytes: what the kernels ask for, tensor by tensor, and what of x has to come from memory (the rest of it comes from L2)."""

    road: Road
    launches: int
    x: int
    fetched: int
    residual: int
    y: int
    w1: int
    w2: int

    @property
    def memory(self) -> int:
        """From and to memory: x as often as it must, everything else once (weights stay in L2 after their first image)."""
        return self.fetched + self.residual + self.y


def moved(shape: Shape, device: Device) -> Moved:
    """What the plugin moves for a node on a device."""
    total = shape.n * shape.image
    w1, w2 = 4 * shape.channels * (shape.reduced or 0), 4 * shape.channels * shape.columns
    residual = total if shape.residual else 0
    blocks = _cluster_blocks(shape, device)
    if blocks and (shape.weights <= 2 * shape.image or blocks * shape.n <= device.multiprocessors):
        return Moved("cluster", 1, total, total, residual, total, shape.n * w1, shape.n * w2)
    if total > device.cache // 2 and shape.weights <= shape.image and _persistent(shape, device):
        return Moved("persistent", 1, 2 * total, total, residual, total, shape.n * w1, shape.n * w2)
    passes = _passes(shape, device)
    jobs = [_scale_jobs(replace(shape, n=count), device) for count in passes]
    w1_reads = sum(-(-count // 8) for count in passes)
    w2_reads = sum(-(-count // images) * parts for count, (images, parts) in zip(passes, jobs, strict=True))
    fetched = total if shape.image <= device.cache // 2 else 2 * total
    return Moved("split", 3 * len(passes), 2 * total, fetched, residual, total, w1 * w1_reads, w2 * w2_reads)


def _rooms(shape: Shape, blocks: int, keeps: bool) -> int:
    """Bytes of shared memory of a block on a road with one launch (`rooms.h`)."""

    def rounded(size: int) -> int:
        return -(-size // 16) * 16

    channels = -(-shape.atoms // blocks) * shape.atom
    x = rounded(channels * shape.positions * shape.element) + 16 if keeps else 0
    hidden = rounded(shape.columns * 4) * (1 if shape.reduced is None else 2)
    scratch = (_CLUSTER_THREADS if keeps else _PERSISTENT_THREADS) * (16 // shape.element) * 4
    return x + 2 * rounded(channels * 4) + hidden + scratch


def _cluster_blocks(shape: Shape, device: Device) -> int | None:
    """Blocks of a cluster that keeps an image on chip; None where there are no clusters, or they do not hold one."""
    if not 90 <= device.sm < 120 or shape.positions > _MOST_POSITIONS or shape.n > 1 << 27:
        return None
    half = device.shared_per_multiprocessor // 2 - 1024
    for limit in (min(half, device.shared_per_block), device.shared_per_block):
        for blocks in (1, 2, 4, 8):
            if blocks > shape.atoms:
                break
            more = blocks < 8 and 2 * blocks <= shape.atoms and 2 * blocks * shape.n <= device.multiprocessors
            if not more and _rooms(shape, blocks, keeps=True) <= limit:
                return blocks
    return None


def _persistent(shape: Shape, device: Device) -> bool:
    """Whether some images under way fit into L2, on enough of the multiprocessors."""
    room = device.cache // 4 * 3 // shape.image
    if room < 1 or shape.positions > _MOST_POSITIONS:
        return False
    fit = min(max(1, room // 2), device.multiprocessors, shape.n)
    groups = -(-shape.n // -(-shape.n // fit))
    blocks = min(device.multiprocessors // groups, shape.atoms)
    fitting = _rooms(shape, blocks, keeps=False) <= device.shared_per_block
    return fitting and 4 * blocks * groups >= device.multiprocessors


def _passes(shape: Shape, device: Device) -> list[int]:
    """Images of each pass of the split road's three launches: so many that the second read of x comes from L2."""
    fit = device.cache // 2 // shape.image
    if fit < 1:
        return [shape.n]
    images = -(-shape.n // -(-shape.n // min(fit, shape.n)))
    return [min(images, shape.n - first) for first in range(0, shape.n, images)]


def _scale_jobs(shape: Shape, device: Device) -> tuple[int, int]:
    """The split road's last kernel: images of a job, and parts that a chunk's positions are cut into; each job reads its rows of w2."""
    held = 2048 // _SPLIT_THREADS * device.multiprocessors
    row = shape.positions * shape.element * shape.atom
    interleaved = shape.atom in (8, 16)
    least = max(1, 128 // (shape.element * shape.atom)) if interleaved else 1
    wanted = 32 * 1024 // row
    atoms = min(shape.atoms, min(max(wanted, least), 256 // shape.atom))
    chunks = -(-shape.atoms // atoms)
    free = held // (shape.n * chunks)
    parts = max(-(-shape.positions // _MOST_POSITIONS), min(free, atoms * row // 4096, shape.positions))
    return min(max(shape.n * chunks // held, 1), 8), parts
