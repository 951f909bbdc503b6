"""Latency of several callables side by side: warm-up, then blocks of calls in turns, so that what slows one slows the others too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

import numpy as np

from se_deploy.artifacts import Progress, silent
from se_deploy.verify.report import Histogram, Latency, Warmup

Call = Callable[[], object]

#: Blocks into which the duration is cut unless said, and the fewest that are measured however slow a call is.
BLOCKS, FEWEST_BLOCKS = 10, 3
#: Seconds of rest between two callables: libraries' threads spin on for a while after a run, and would take the next one's cores.
REST = 0.06
#: The load for each core from which on a machine is called busy; a command that has just ended may leave 1.
BUSY = 1.5
#: Calls that warm up at least, however slow they are.
FEWEST_WARMUPS = 3
#: A callable is steady where the medians of its last two windows (of a fifth of the warm-up each) differ by less than this share.
STEADY = 0.05
#: Who is not steady by then is warmed up no longer than so many times what was asked for.
LONGEST_WARMUP = 3
#: Bins of a histogram; the slowest hundredth goes into the last one.
BINS = 40


@dataclass(frozen=True)
class Warm:
    """How a callable was warmed up, and the seconds that a call took in the end."""

    report: Warmup
    call: float


def warmed(calls: Mapping[str, Call], seconds: float) -> dict[str, Warm]:
    """Calls each callable for so many seconds, and on until it is steady, but no longer than three times that."""
    return {name: _warmed(call, seconds) for name, call in calls.items()}


def interleaved(
    calls: Mapping[str, Call],
    steady: Mapping[str, Warm],
    *,
    duration: float,
    turns: int = BLOCKS,
    what: str = "measuring",
    progress: Progress = silent,
) -> dict[str, list[list[float]]]:
    """Measures each callable, warm already, for about `duration` seconds in about so many turns (more where one call outlasts a turn).

    Each round takes one block of each, the order turned round every time. A callable's blocks all have the same number of calls, so
    that the mean of its blocks is the mean of its calls. Before a block there is a rest, and where it has several calls one is unmeasured.

    Returns:
        Milliseconds: for each callable its blocks, block k of all measured in the same round.
    """
    counts = {name: max(1, round(duration / turns / warm.call)) for name, warm in steady.items()}
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


def _warmed(call: Call, seconds: float) -> Warm:
    times: list[float] = []
    window, steady = seconds / 5, False
    spent = checked = 0.0
    while len(times) < FEWEST_WARMUPS or spent < seconds or (not steady and spent < LONGEST_WARMUP * seconds):
        times.append(_seconds(call))
        spent += times[-1]
        if spent >= seconds and spent - checked >= window:  # seldom, so that looking does not disturb what is looked at
            checked, steady = spent, _steady(times, window)
    report = Warmup(seconds=spent, calls=len(times), steady=_steady(times, window))
    return Warm(report, median(times[len(times) // 2 :]))


def _steady(times: Sequence[float], window: float) -> bool:
    """Whether the last two windows' medians agree; a window has `window` seconds, and at least one call."""
    medians, end = [], len(times)
    for _ in range(2):
        start, spent = end, 0.0
        while start > 0 and (spent < window or start == end):
            start -= 1
            spent += times[start]
        if start == end:
            return False
        medians.append(median(times[start:end]))
        end = start
    return abs(medians[0] - medians[1]) <= STEADY * medians[1]


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


def histogram(blocks: Sequence[Sequence[float]]) -> Histogram:
    """Counts of all calls in bins of equal width up to the 99th percentile, and a last one for what is slower."""
    times = np.array([value for block in blocks for value in block])
    low, high, top = (float(value) for value in np.percentile(times, (0, 99, 100)))
    edges = np.linspace(low, high if high > low else low + max(low, 1e-6), BINS)
    edges = np.append(edges, max(top, 2 * edges[-1] - edges[-2]))
    counts, _ = np.histogram(times, edges)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
