"""What a device can move and compute, as its maker publishes it, and what the plugin's chooser of roads asks of it.

The figures were written down from memory of the documents named; check one before you rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from se_deploy.artifacts import Precision
from se_deploy.errors import BackendError

#: Seconds that a launch costs beside its work: 3.8 µs a launch of a kernel of 2.9 µs on a stream that is kept full (NVIDIA developer
#: blog, "Getting started with CUDA graphs", 2019, measured on a V100).
LAUNCH = 0.9e-6


@dataclass(frozen=True)
class Device:
    """Dense peaks, no sparsity; FP32 outside tensor cores, FP16 with FP32 sums and INT8 inside."""

    target: str
    name: str
    #: Bytes per second from and to memory.
    bandwidth: float
    #: Operations per second (a multiply-add is two) by precision.
    peak: dict[Precision, float]
    #: Bytes of the last cache before memory.
    cache: int
    source: str
    sm: int = 0
    multiprocessors: int = 0
    #: Shared memory in bytes.
    shared_per_block: int = 0
    shared_per_multiprocessor: int = 0

    @property
    def is_gpu(self) -> bool:
        """Whether SE blocks can be layers of the plugin there."""
        return self.sm > 0


def _gpu(sm: int, name: str, gigabytes: float, tera: tuple[float, float, float], chip: tuple[int, float, int], source: str) -> Device:
    """`chip`: multiprocessors, MB of L2, KB of shared memory per multiprocessor (a block gets 1 KB less; all of it before sm_80)."""
    fp32, fp16, int8 = (value * 1e12 for value in tera)
    multiprocessors, megabytes, shared = chip
    return Device(
        target=f"sm_{sm}",
        name=name,
        bandwidth=gigabytes * 1e9,
        peak={"fp32": fp32, "fp16": fp16, "int8": int8},
        cache=int(megabytes * 2**20),
        source=source,
        sm=sm,
        multiprocessors=multiprocessors,
        shared_per_block=(shared - (sm >= 80)) * 1024,
        shared_per_multiprocessor=shared * 1024,
    )


_DEVICES = (
    _gpu(75, "NVIDIA T4", 320, (8.1, 65, 130), (40, 4, 64), "NVIDIA T4 datasheet, 2019; Turing architecture whitepaper"),
    _gpu(80, "NVIDIA A100 80GB SXM", 2039, (19.5, 312, 624), (108, 40, 164), "NVIDIA A100 datasheet, 2021; Ampere architecture whitepaper"),
    _gpu(86, "NVIDIA A10", 600, (31.2, 125, 250), (72, 6, 100), "NVIDIA A10 datasheet, 2021; GA102 architecture whitepaper"),
    _gpu(89, "NVIDIA L4", 300, (30.3, 121, 242), (58, 48, 100), "NVIDIA L4 datasheet, 2023 (halved: sparse peaks); Ada whitepaper"),
    _gpu(90, "NVIDIA H100 SXM", 3350, (67, 989, 1979), (132, 50, 228), "NVIDIA H100 datasheet, 2023 (halved); Hopper whitepaper"),
    _gpu(100, "NVIDIA B200", 8000, (75, 2250, 4500), (148, 126, 228), "NVIDIA HGX datasheet, 2024, an eighth of HGX B200 (halved)"),
    _gpu(120, "NVIDIA GeForce RTX 5090", 1792, (104.8, 209.5, 838), (170, 96, 100), "NVIDIA RTX Blackwell architecture whitepaper, 2025"),
    Device(
        target="cpu",
        name="Intel Xeon Platinum 8480+",
        bandwidth=307.2e9,  # eight channels of DDR5-4800
        # 56 cores, 2.0 GHz; 64 FP32 operations a cycle (two AVX-512 FMA units). FP16 is computed in FP32; INT8 by VNNI, four times FP32.
        peak={"fp32": 56 * 2.0e9 * 64, "fp16": 56 * 2.0e9 * 64, "int8": 56 * 2.0e9 * 256},
        cache=105 * 2**20,
        source="Intel ARK, Xeon Platinum 8480+, 2023; Intel 64 and IA-32 architectures optimization reference manual",
    ),
)  # fmt: skip

DEVICES: dict[str, Device] = {device.target: device for device in _DEVICES}


def device(target: str) -> Device:
    """The device that stands for a target.

    Raises:
        BackendError: there is none of that name.
    """
    if target not in DEVICES:
        raise BackendError(f"no device is known for the target {target!r}", f"take one of {', '.join(DEVICES)}")
    return DEVICES[target]
