import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest

from se_deploy.verify import latency
from se_deploy.verify.latency import BINS, BLOCKS, LONGEST_WARMUP, block_means, histogram, interleaved, summary, warmed


def sleeper(seconds: float, log: list[str], name: str) -> Callable[[], None]:
    def call() -> None:
        log.append(name)
        time.sleep(seconds)

    return call


def test_short_calls_are_measured_in_blocks_of_equal_counts_in_turns() -> None:
    log: list[str] = []
    calls = {name: sleeper(seconds, log, name) for name, seconds in (("a", 0.002), ("b", 0.006))}
    blocks = interleaved(calls, warmed(calls, 0.05), duration=0.5)
    assert len(blocks["a"]) == len(blocks["b"]) >= BLOCKS // 2
    counts = {name: {len(block) for block in found} for name, found in blocks.items()}
    assert all(len(sizes) == 1 for sizes in counts.values())
    (a,), (b,) = counts["a"], counts["b"]
    assert a > b > 1
    turns = [name for name, before in zip(log, ["", *log], strict=False) if name != before]
    assert turns == ["a", "b"] * (len(turns) // 2) + ["a"] * (len(turns) % 2)
    measured = len(blocks["a"])
    # a warms up, b warms up, then a b | b a | a b ...: the order turns round, so that drift favours neither
    assert len(turns) == 2 + measured + 1
    for name, wanted in (("a", 2), ("b", 6)):
        found = summary(blocks[name])
        assert wanted <= found.min <= found.p50 <= found.p90 <= found.p95 <= found.p99
        assert found.n == measured * {"a": a, "b": b}[name]
        assert found.mean == pytest.approx(np.mean(block_means(blocks[name])))


def test_a_slow_call_is_measured_three_times_and_no_more() -> None:
    log: list[str] = []
    calls = {"slow": sleeper(0.05, log, "slow")}
    blocks = interleaved(calls, warmed(calls, 0), duration=0.01)
    assert [len(block) for block in blocks["slow"]] == [1, 1, 1]
    assert len(log) == 3 + 3


def test_progress_tells_each_round() -> None:
    seen: list[tuple[str, int, int | None]] = []
    calls = {"a": lambda: time.sleep(0.01)}
    interleaved(calls, warmed(calls, 0), duration=0.01, what="w", progress=lambda *step: seen.append(step))
    assert seen[:3] == [("w", 0, None), ("w", 1, None), ("w", 2, None)]


def test_percentiles_are_linear_over_all_calls() -> None:
    found = summary([[float(i) for i in range(1, 51)], [float(i) for i in range(51, 102)]])
    assert (found.min, found.mean, found.p50, found.p90, found.p99, found.n) == (1.0, 51.0, 51.0, 91.0, 100.0, 101)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls give the seconds that they took, so that no clock is asked."""
    monkeypatch.setattr(latency, "_seconds", lambda call: call())


@pytest.mark.usefixtures("scripted")
def test_warm_up_goes_on_until_calls_are_steady() -> None:
    settling = itertools.chain((0.01 + 0.05 * 0.5**n for n in range(20)), itertools.repeat(0.01))
    warm = warmed({"a": lambda: next(settling)}, 0.12)["a"]
    assert warm.report.steady
    assert 0.12 < warm.report.seconds < 0.12 * LONGEST_WARMUP
    assert warm.report.calls > 6
    assert warm.call == pytest.approx(0.01, rel=0.05)
    quick = warmed({"a": lambda: 0.01}, 0.125)["a"]
    assert (quick.report.steady, quick.report.calls) == (True, 13)


@pytest.mark.usefixtures("scripted")
def test_who_never_gets_steady_is_not_waited_for() -> None:
    growing = (0.002 * 1.2**n for n in itertools.count())
    warm = warmed({"a": lambda: next(growing)}, 0.05)["a"]
    assert not warm.report.steady
    assert 0.05 * LONGEST_WARMUP <= warm.report.seconds < 0.05 * LONGEST_WARMUP * 1.3
    few = warmed({"a": lambda: 1.0}, 0.0)["a"]
    assert (few.report.calls, few.report.steady) == (3, True)


def test_a_histogram_holds_every_call_and_its_last_bin_the_slowest() -> None:
    times = [1 + i / 1000 for i in range(999)] + [50.0]
    found = histogram([times[:500], times[500:]])
    assert len(found.edges) == len(found.counts) + 1 == BINS + 1
    assert sum(found.counts) == 1000
    assert found.edges[0] == 1.0
    assert found.edges[-1] == 50.0
    assert found.counts[-1] == 10
    alone = histogram([[2.0], [2.0]])
    assert sum(alone.counts) == 2
