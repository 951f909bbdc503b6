"""Latency of several callables side by side: warm-up, then blocks of calls in turns, so that what slows one slows the others too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median

import numpy as np

from se_deploy.artifacts import Progress, silent
from se_deploy.verify.report import Latency

Call = Callable[[], object]

#: Blocks into which the duration is cut, and the fewest that are measured however slow a call is.
BLOCKS, FEWEST_BLOCKS = 10, 3
#: Seconds of rest between two callables: ONNX Runtime's threads spin on for up to 45 ms after a run, and would take the next one's cores.
REST = 0.06
#: The load for each core from which on a machine is called busy; a command that has just ended may leave 1.
BUSY = 1.5
#: Calls that warm up at least, however slow they are.
FEWEST_WARMUPS = 3


def interleaved(
    calls: Mapping[str, Call], *, warmup: float, duration: float, what: str = "measuring", progress: Progress = silent
) -> dict[str, list[list[float]]]:
    """Measures each callable for about `duration` seconds, after `warmup` seconds unmeasured.

    Each round takes one block of each, the order turned round every time. A callable's blocks all have the same number of calls, so
    that the mean of its blocks is the mean of its calls. Before a block there is a rest, and where it has several calls one is unmeasured.

    Returns:
        Milliseconds: for each callable its blocks, block k of all measured in the same round.
    """
    steady = {name: _warmed(call, warmup) for name, call in calls.items()}
    counts = {name: max(1, round(duration / BLOCKS / seconds)) for name, seconds in steady.items()}
    blocks: dict[str, list[list[float]]] = {name: [] for name in calls}
    order, rounds, spent = list(calls), 0, 0.0
    while rounds < FEWEST_BLOCKS or spent < duration * len(calls):
        progress(what, rounds, None)
        for name in order:
            blocks[name].append(_block(calls[name], counts[name]))
            spent += sum(blocks[name][-1]) / 1000
        order.reverse()
        rounds += 1
    return blocks


def _block(call: Call, count: int) -> list[float]:
    time.sleep(REST)
    if count > 1:
        call()
    return [1000 * _seconds(call) for _ in range(count)]


def _warmed(call: Call, warmup: float) -> float:
    """Calls until the time is over; the seconds a call took in the end."""
    seconds: list[float] = []
    while len(seconds) < FEWEST_WARMUPS or sum(seconds) < warmup:
        seconds.append(_seconds(call))
    return median(seconds[len(seconds) // 2 :])


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def busy() -> str | None:
    """A remark where other work takes this machine's cores, before anything is measured; None where it is quiet or does not say."""
    load, cores = (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0), os.cpu_count() or 1
    if load <= BUSY * cores:
        return None
    return f"this machine is busy (load {load:.1f} on {cores} cores): latencies and speed-ups hold for that"


def summary(blocks: Sequence[Sequence[float]]) -> Latency:
    """Percentiles (linear between neighbours) over all calls of all blocks, in the unit of `blocks`."""
    times = np.array([value for block in blocks for value in block])
    p50, p90, p95, p99 = (float(value) for value in np.percentile(times, (50, 90, 95, 99)))
    return Latency(min=float(times.min()), mean=float(times.mean()), p50=p50, p90=p90, p95=p95, p99=p99, n=len(times))


def block_means(blocks: Sequence[Sequence[float]]) -> list[float]:
    """The mean of each block, for a paired comparison."""
    return [mean(block) for block in blocks]
