"""What is measured on a GPU beside the latency from host to host: the device's own clock, a CUDA graph, several streams."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from se_deploy.backends import OnDevice
from se_deploy.verify import latency
from se_deploy.verify.report import Gpu

#: Runs in one block of the device's clock.
BLOCK = 20
#: Runs at least.
FEWEST = 100
#: Rounds for each number of streams.
ROUNDS = 50


@dataclass(frozen=True)
class Measured:
    """Milliseconds on the device, and the rest of the report."""

    times: list[float]
    gpu: Gpu


def measure(runner: OnDevice, feeds: Mapping[str, NDArray[Any]], *, duration: float, streams: Sequence[int]) -> Measured:
    """Measures one engine at one batch size, about `duration` seconds without a graph and as many with it.

    Args:
        runner: warm already.
        feeds: one batch.
        duration: seconds.
        streams: numbers of contexts that run at once, each on a stream of its own.
    """
    before = runner.clocks()
    times = _timed(runner, feeds, duration)
    with runner.twin(graph=True) as replayed:
        graph = latency.summary([_timed(replayed, feeds, duration)])
    speeds = {count: _at_once(runner, feeds, count) for count in streams}
    return Measured(times, Gpu(graph_latency_ms=graph, streams=speeds, clocks_before=before, clocks_after=runner.clocks()))


def as_blocks(times: Sequence[float], count: int) -> list[list[float]]:
    """The times in so many blocks, for a comparison with what was measured in as many."""
    return [list(times[len(times) * k // count : len(times) * (k + 1) // count]) for k in range(count)]


def _timed(runner: OnDevice, feeds: Mapping[str, NDArray[Any]], duration: float) -> list[float]:
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < 1000 * duration:
        times += runner.device_times(feeds, BLOCK)
    return times


def _at_once(runner: OnDevice, feeds: Mapping[str, NDArray[Any]], count: int) -> float:
    """Images per second of so many contexts, each asked again as soon as all others are: copies left out."""
    with ExitStack() as stack:
        twins = [stack.enter_context(runner.twin()) for _ in range(count)]
        for twin in twins:
            twin.run(feeds)  # its inputs, and its first run
        started = time.perf_counter()
        for _ in range(ROUNDS):
            for twin in twins:
                twin.start(feeds)
        for twin in twins:
            twin.wait()
        seconds = time.perf_counter() - started
    return ROUNDS * count * len(next(iter(feeds.values()))) / seconds
